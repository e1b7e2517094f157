"""Turn one chorale into another, step by step, by the codes between theirs.

    KERAS_VAE_DATA=FOLDER python examples/chorale_morph.py

FOLDER holds jsb_chorales.json (docs/music.md says where it is from). Half the notes of one piece
and half of another are no music. The code between theirs is a piece of its own, in four voices.
"""

import argparse
import pathlib
import random

import keras_vae
import keras
import numpy as np
from keras_vae import data, figures, networks
from keras_vae.figures import walks

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", default="jsb", help="as for python -m keras_vae train")
parser.add_argument("--epochs", type=int, default=10, help="of 400 updates")
parser.add_argument("--out", type=pathlib.Path, default="runs/examples/chorale_morph")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
random.seed(0)  # Keras draws initial weights by it

chorales = data.sequences(args.data)
schema = chorales.schema
notes, rest = (schema.num_tokens, schema.low), {"repeats": schema.repeats, "seed": 0}
model = keras_vae.SequenceVAE(
    networks.NotesEncoder(96, *notes, width=96, beat_width=192, **rest),
    # A third of the past is hidden in training: the code has to say what happens.
    networks.NotesDecoder((32, len(schema.voices)), *notes, past_dropout=0.3, **rest),
    schema=schema,
    total_free_bits=60.0,
    seed=0,
)
rows = np.random.default_rng(0).permutation(len(chorales.train))[: args.epochs * 400 * 16]
rate = keras.optimizers.schedules.CosineDecay(2e-3, max(1, len(rows) // 16))
model.compile(keras.optimizers.AdamW(rate, weight_decay=0.1, global_clipnorm=1.0))
model.fit(chorales.train[rows], batch_size=16)

first, last = (chorales.test[chorales.rows_to_show(2)][[end]] for end in (0, 1))
z, _ = model.encode(np.concatenate([first, last]))
way = walks.between(z[:1], z[1:], steps=8)[0]  # (8, latent)
pieces = model.decode(way, token_temperature=0.0)  # the likeliest notes
back = [np.mean(piece == real) for piece, real in ((pieces[0], first[0]), (pieces[-1], last[0]))]
print(f"Of the two pieces {back[0]:.0%} and {back[1]:.0%} come back from their codes")
changed = np.mean(pieces[1:] != pieces[:-1], axis=(1, 2))
print("Changed from one piece to the next:", ", ".join(f"{part:.0%}" for part in changed))
rolls = {"from here": pieces[:4], "to there": pieces[4:], "Bach": np.concatenate([first, last])}
title = "From one chorale to another"
figures.piano_rolls(rolls, schema, title).savefig(args.out / "morph.png")
whole = np.concatenate(list(pieces))
(args.out / "morph.mid").write_bytes(data.midi.encode(whole, schema))
(args.out / "morph.wav").write_bytes(data.audio.encode(whole, schema))
for name in ("morph.png", "morph.mid", "morph.wav"):
    print(args.out / name)
