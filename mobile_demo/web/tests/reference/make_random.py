"""Write the fixture that holds the page's generator against Python's: python make_random.py

100,000 draws in blocks of seeds and dimensions, each as the SHA-256 of its float32 values, little
endian, row after row; and the first values of each, for a person who looks for a difference.
"""

import hashlib
import json
import pathlib

import numpy as np

from keras_vae import portable_random
from keras_vae.priors import StandardNormal

BLOCKS = [
    {"seed": 0, "count": 4000, "latent_dim": 5, "temperature": 1.0},
    {"seed": 42, "count": 4000, "latent_dim": 5, "temperature": 0.7},
    {"seed": 65535, "count": 1000, "latent_dim": 20, "temperature": 1.0},
    {"seed": 65536, "count": 1, "latent_dim": 4096, "temperature": 1.0},
    {"seed": 123456789, "count": 2952, "latent_dim": 2, "temperature": 0.9},
    {"seed": 2**31 - 1, "count": 3000, "latent_dim": 10, "temperature": 1.0},
]
# From the middle of a seed, beyond the 65536th example, as [seed, example, dimension].
COUNTERS = [[7, 65535, 3], [7, 65536, 3], [2**31 - 1, 2**20 - 1, 4095], [99, 700001, 17]]


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array, "<f4").tobytes()).hexdigest()


def main():
    prior = StandardNormal()
    blocks = []
    for block in BLOCKS:
        z = prior.sample(block["count"], block["latent_dim"], block["temperature"], block["seed"])
        blocks.append({**block, "sha256": digest(z), "first": z.reshape(-1)[:4].tolist()})
    assert sum(block["count"] * block["latent_dim"] for block in BLOCKS) >= 100_000
    words = [[int(word) for word in portable_random.words(*counter)] for counter in COUNTERS]
    fixture = {
        "blocks": blocks,
        "tables": [digest(table) for table in portable_random.tables()],
        "words": [
            {"counter": counter, "words": pair}
            for counter, pair in zip(COUNTERS, words, strict=True)
        ],
    }
    path = pathlib.Path(__file__).parent.parent / "fixtures" / "random.json"
    path.write_text(json.dumps(fixture, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
