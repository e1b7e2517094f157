"""The pictures of the page of examples: run each example, and shrink the last picture it makes.

    KERAS_BACKEND=jax python docs/make_gallery.py            # all: half an hour
    KERAS_BACKEND=jax python docs/make_gallery.py colour gan

What an example saves last is its picture; of an animation the middle frame is taken.
"""

import pathlib
import subprocess
import sys
import tempfile

from PIL import Image

DOCS = pathlib.Path(__file__).resolve().parent
EXAMPLES = DOCS.parent / "examples"
SIZE = (320, 240)
PICTURES = {".gif", ".png"}
# Of the one who shows nothing by itself: its picture is that of the README.
WITHOUT = {"demo"}


def main():
    names = sys.argv[1:] or sorted({path.stem for path in EXAMPLES.glob("*.py")} - WITHOUT)
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, EXAMPLES / f"{name}.py"],
                cwd=folder,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                sys.exit(f"{name} failed: {done.stderr[-500:]}")
            made = [path for path in pathlib.Path(folder).rglob("*") if path.suffix in PICTURES]
            path = DOCS / "gallery" / f"{name}.png"
            thumbnail(max(made, key=lambda made: made.stat().st_mtime)).save(path, optimize=True)
            print(path, f"{path.stat().st_size / 1000:.0f} kB", flush=True)


def thumbnail(path):
    """A picture within SIZE, on white, in 64 colours."""
    with Image.open(path) as picture:
        picture.seek(getattr(picture, "n_frames", 1) // 2)
        picture = picture.convert("RGB")
    picture.thumbnail(SIZE, Image.Resampling.LANCZOS)
    sheet = Image.new("RGB", SIZE, "white")
    sheet.paste(picture, ((SIZE[0] - picture.width) // 2, (SIZE[1] - picture.height) // 2))
    return sheet.quantize(64)


if __name__ == "__main__":
    main()
