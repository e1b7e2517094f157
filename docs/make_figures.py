"""The documents' contact sheet and GIF, of a run whose pictures are drawn.

python -m keras_vae train --data mnist --out runs/mnist
python -m keras_vae figures runs/mnist
python docs/make_figures.py runs/mnist
"""

import pathlib
import shutil
import sys

from PIL import Image

ROWS = (
    ("samples_by_class", "style_transfer"),
    ("interpolation", "traversals"),
    ("learning_curves", "reconstructions"),
)
WIDTH, GAP = 880, 24
DOCS = pathlib.Path(__file__).parent

figures = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "runs/mnist") / "figures"
rows = []
for names in ROWS:
    row = []
    for name in names:
        with Image.open(figures / f"{name}.png") as picture:
            height = round(picture.height * WIDTH / picture.width)
            row.append(picture.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS))
    rows.append(row)
heights = [max(picture.height for picture in row) for row in rows]
sheet = Image.new("RGB", (2 * WIDTH + 3 * GAP, sum(heights) + GAP * (len(rows) + 1)), "white")
top = GAP
for row, height in zip(rows, heights, strict=True):
    for column, picture in enumerate(row):
        left = GAP + column * (WIDTH + GAP)
        sheet.paste(picture, (left, top + (height - picture.height) // 2))
    top += height + GAP
# Every colour counts, however few pixels a curve has.
sheet.quantize(128, Image.Quantize.MAXCOVERAGE).save(DOCS / "figures.png", optimize=True)
shutil.copy(figures / "interpolation.gif", DOCS / "interpolation.gif")
for name in ("figures.png", "interpolation.gif"):
    print(DOCS / name, f"{(DOCS / name).stat().st_size / 1000:.0f} kB")
