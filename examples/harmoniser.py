"""Give it a melody, and it sings the other three voices in the style of Bach.

    KERAS_VAE_DATA=FOLDER python examples/harmoniser.py

FOLDER holds jsb_chorales.json (docs/music.md says where it is from). The default, a minute or two,
is enough to hear what it does; `--epochs 40` is enough to like it. `--melody tune.mid` takes your
own two bars; else it is those of test pieces.
"""

import argparse
import pathlib
import random

import keras_vae
import keras
import numpy as np
from keras_vae import data, evaluation, figures, networks

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", default="jsb", help="as for python -m keras_vae train")
parser.add_argument("--epochs", type=int, default=5, help="of 400 updates")
parser.add_argument(
    "--melody", type=pathlib.Path, help="a MIDI file; default: those of test pieces"
)
parser.add_argument("--out", type=pathlib.Path, default="runs/examples/harmoniser")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
random.seed(0)  # Keras draws initial weights by it

chorales = data.sequences(args.data, conditions=["melody"])
schema = chorales.schema
notes = (schema.num_tokens, schema.low)
heard = {"given": len(schema.given), "repeats": schema.repeats, "dropout": 0.1, "seed": 0}
model = keras_vae.SequenceVAE(
    networks.NotesEncoder(32, *notes, **heard),
    networks.NotesDecoder((32, len(schema.voices)), *notes, past_dropout=0.15, **heard),
    condition=chorales.conditions,
    schema=schema,
    total_free_bits=13.0,  # or the decoder does without the code
    seed=0,
)
train, test = chorales.train, chorales.test
rows = np.random.default_rng(0).permutation(len(train["x"]))[: args.epochs * 400 * 16]
rate = keras.optimizers.schedules.CosineDecay(2e-3, max(1, len(rows) // 16))
model.compile(keras.optimizers.AdamW(rate, weight_decay=0.1, global_clipnorm=1.0))
model.fit({name: values[rows] for name, values in train.items()}, batch_size=16)

# What a listener notices, beside the same of Bach.
bach, melodies = schema.together(test["x"], test), {"melody": test["melody"]}
samples = schema.together(model.sample(melodies, seed=1), melodies)
print(f"{'':26}{'samples':>9}{'Bach':>9}")
notice = evaluation.music.statistics
of_bach = notice(schema.pitches(bach))
for name, value in notice(schema.pitches(samples)).items():
    print(f"{name:26}{value:9.3f}{of_bach[name]:9.3f}")

if args.melody:
    given = {"melody": np.tile(data.midi.read_melody(args.melody, schema, 32), (4, 1))}
    rolls = {}
else:
    shown = chorales.rows_to_show(4)
    given, rolls = {"melody": test["melody"][shown]}, {"Bach": bach[shown]}
pieces = schema.together(model.sample(given, seed=42), given)
title = "Three voices under a melody that is given"
figures.piano_rolls({**rolls, "model": pieces}, schema, title).savefig(args.out / "rolls.png")
whole = np.concatenate(list(pieces))
(args.out / "pieces.mid").write_bytes(data.midi.encode(whole, schema))
(args.out / "pieces.wav").write_bytes(data.audio.encode(whole, schema))
for name in ("rolls.png", "pieces.mid", "pieces.wav"):
    print(args.out / name)
