"""Run a benchmark by its file or with `python -m`: its neighbours are found either way."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
