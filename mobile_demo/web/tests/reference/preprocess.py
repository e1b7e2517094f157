"""How a drawing becomes an image like those of the training set: numpy only.

MNIST's digits were scaled into a box of 20x20 pixels, their proportions kept, and placed so that
their centre of mass lies in the pixel right below the middle of 28x28 (of the 10,000 test images
in all but one). `src/preprocess.ts` does the same, and is tested against what this file writes:
python preprocess.py

References:
    - LeCun et al., 1998, Gradient-Based Learning Applied to Document Recognition, section III.A.
      https://doi.org/10.1109/5.726791
"""

import itertools
import json
import pathlib

import numpy as np

FAINTEST = 0.02


def centre(drawing, height, width, box):
    """Scale what is drawn into a box and put its centre of mass into the middle.

    Args:
        drawing: Float array `(rows, columns)` in [0, 1], 0 where nothing is drawn.
        height, width: Ints. Size of the image to make.
        box: Int. The longer side of what is drawn has so many pixels.

    Returns:
        float64 array `(height, width)` in [0, 1]; all 0 without a drawing.
    """
    drawn = drawing > FAINTEST
    if not drawn.any():
        return np.zeros((height, width))
    rows, columns = (np.flatnonzero(drawn.any(axis=axis)) for axis in (1, 0))
    top, bottom = rows[0], rows[-1] + 1
    left, right = columns[0], columns[-1] + 1
    ink = drawing[top:bottom, left:right].astype(np.float64)
    mass = ink.sum()
    y = (ink.sum(axis=1) @ (np.arange(top, bottom) + 0.5)) / mass
    x = (ink.sum(axis=0) @ (np.arange(left, right) + 0.5)) / mass
    scale = max(bottom - top, right - left) / box
    over = _coverage(len(drawing), height, _start(y, top, bottom, height, scale), scale)
    across = _coverage(drawing.shape[1], width, _start(x, left, right, width, scale), scale)
    return np.clip(over @ drawing @ across.T, 0, 1)


def _start(mass, first, last, size, scale):
    """Where the image begins, so that its middle pixel lies on the mass.

    Nothing of the drawing, from `first` to `last`, falls off, however far its mass is to one side.
    """
    start = mass - (size // 2 + 0.5) * scale
    return min(max(start, last - size * scale), first)


def _coverage(source, target, start, scale):
    """How much of each target pixel each source pixel covers: `(target, source)`.

    Target pixel i reaches from `start + i * scale` over `scale` source pixels.
    """
    low = start + scale * np.arange(target)[:, None]
    pixel = np.arange(source)[None]
    overlap = np.minimum(low + scale, pixel + 1) - np.maximum(low, pixel)
    return np.maximum(overlap, 0) / scale


def drawings():
    """Strokes of several shapes, sizes and places, by name."""
    rows, columns = np.mgrid[0:112, 0:112]
    rng = np.random.default_rng(0)

    def stroke(points, thickness):
        drawing = np.zeros((112, 112))
        for (y0, x0), (y1, x1) in itertools.pairwise(points):
            for t in np.linspace(0, 1, 60):
                y, x = y0 + t * (y1 - y0), x0 + t * (x1 - x0)
                distance = np.hypot(rows - y, columns - x)
                drawing = np.maximum(drawing, np.clip(thickness - distance, 0, 1))
        return drawing

    return {
        "seven": stroke([(20, 25), (22, 80), (95, 45)], 6),
        "one": stroke([(10, 100), (100, 104)], 4),
        "small corner": stroke([(3, 3), (12, 9), (4, 15)], 2),
        "wide": stroke([(56, 4), (60, 108)], 5),
        "dot": stroke([(50, 50), (51, 51)], 3),
        "heavy end": np.maximum(stroke([(56, 8), (56, 104)], 2), stroke([(50, 100), (60, 100)], 9)),
        "specks": np.round(rng.random((112, 112)) * (rng.random((112, 112)) > 0.99), 3),
        "blank": np.zeros((112, 112)),
        "full": np.ones((112, 112)),
    }


def main():
    cases = []
    for name, drawing in drawings().items():
        # Whole 255ths, so that the fixture stays small and exact.
        levels = np.round(drawing * 255).astype(int)
        for height, width, box in ((28, 28, 20), (8, 8, 8), (20, 32, 16)):
            if (height, width) != (28, 28) and name not in ("seven", "wide"):
                continue
            made = centre(levels / 255, height, width, box)
            cases.append(
                {
                    "name": f"{name}, {height}x{width}, box {box}",
                    "height": height,
                    "width": width,
                    "box": box,
                    "drawing": name,
                    "made": [round(float(value), 8) for value in made.reshape(-1)],
                }
            )
    used = {name: _runs(np.round(d * 255).astype(int)) for name, d in drawings().items()}
    path = pathlib.Path(__file__).parent.parent / "fixtures" / "preprocess.json"
    text = json.dumps({"side": 112, "drawings": used, "cases": cases}, separators=(",", ":"))
    path.write_text(text + "\n", encoding="utf-8")


def _runs(levels):
    """Run lengths: a flat list of level, count, level, count, ..."""
    flat = levels.reshape(-1)
    starts = np.flatnonzero(np.diff(flat, prepend=-1))
    counts = np.diff(np.append(starts, flat.size))
    return np.stack([flat[starts], counts], axis=1).reshape(-1).tolist()


if __name__ == "__main__":
    main()
