"""The table of music: what `SequenceVAE` reaches on Bach's chorales in a few minutes.

    KERAS_VAE_DATA=FOLDER KERAS_BACKEND=jax python benchmarks/chorales.py harmoniser

FOLDER holds `jsb_chorales.json`. A row is one training from its recipe in `ROWS`, and prints, as
JSON, of the published splits' test windows: the bound and its KL; reconstructions that the model
goes on with by itself; and at a token temperature of 0.7 what a listener notices of samples,
beside the same of Bach. Windows whose melody no training window has in any key stand apart.

- `harmoniser`: alto, tenor and bass under a given soprano, the code costs 12 nats at least. Narrow
  enough for a page: it is the one that mobile_demo ships.
- `unconditional`: four voices, the plain bound, for which the code is hardly used.
- `kl20`: four voices, the code costs 20 nats at least.
- `reconstruction`: four voices brought back from a code of 40 nats at least.
"""

import argparse
import math
import random
import time

import keras
import numpy as np
import receipts

import keras_vae
from keras_vae import data, networks
from keras_vae.evaluation import sequences

# Of networks, down to `voice_units`, and of training, where a row says nothing else.
RECIPE = {
    "conditions": (),
    "latent_dim": 32,
    "encoder_width": 64,
    "beat_width": 128,
    "decoder_width": 88,
    "voice_units": 88,
    "dropout": 0.2,
    "past_dropout": 0.15,
    "past_noise": 0.03,
    "prior_share": 0.2,
    "total_free_bits": 0.0,
    "epochs": 3,
}
ROWS = {
    "harmoniser": {
        "conditions": ("melody",),
        "decoder_width": 80,
        "voice_units": 80,
        "prior_share": 0.35,
        "total_free_bits": 13.0,
        "epochs": 4,
    },
    "unconditional": {"dropout": 0.3, "past_dropout": 0.05, "prior_share": 0.0},
    "kl20": {"total_free_bits": 21.0},
    "reconstruction": {
        "latent_dim": 96,
        "encoder_width": 96,
        "beat_width": 192,
        "dropout": 0.1,
        "past_dropout": 0.3,
        "prior_share": 0.0,
        "total_free_bits": 72.0,
    },
}
LEARNING_RATE, WEIGHT_DECAY, BATCH_SIZE = 2e-3, 0.1, 16


def make_model(music, recipe, seed):
    schema, shape = music.schema, (music.steps, len(music.schema.voices))
    notes = {
        "given": len(schema.given),
        "steps_per_beat": schema.steps_per_beat,
        "repeats": schema.repeats,
        "dropout": recipe["dropout"],
        "seed": seed,
    }
    encoder = networks.NotesEncoder(
        recipe["latent_dim"],
        schema.num_tokens,
        schema.low,
        music.steps,
        recipe["encoder_width"],
        recipe["beat_width"],
        **notes,
    )
    decoder = networks.NotesDecoder(
        shape,
        schema.num_tokens,
        schema.low,
        recipe["decoder_width"],
        voice_units=recipe["voice_units"],
        past_dropout=recipe["past_dropout"],
        past_noise=recipe["past_noise"],
        **notes,
    )
    return keras_vae.SequenceVAE(
        encoder,
        decoder,
        music.conditions or None,
        schema,
        recipe["prior_share"],
        total_free_bits=recipe["total_free_bits"],
        seed=seed,
    )


def make_optimizer(updates):
    """AdamW whose rate rises for 200 updates and falls to 0; the last weights' mean is kept."""
    warm_up = min(200, updates // 10)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, updates - warm_up, warmup_target=LEARNING_RATE, warmup_steps=warm_up
    )
    optimizer = keras.optimizers.AdamW(
        rate,
        WEIGHT_DECAY,
        beta_2=0.99,
        global_clipnorm=1.0,
        use_ema=True,
        ema_momentum=1 - 16 / updates,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


def measure(model, music):
    """Figures of merit of the test windows."""
    test, new = music.test, music.new_melody
    of_new = {name: values[new] for name, values in test.items()} if music.conditions else test[new]
    return {
        "test": sequences.evaluate_sequences(model, test),
        "new_melody": sequences.evaluate_sequences(model, of_new),
        **sequences.compare_samples(model, test),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("row", choices=ROWS)
    for name, value in RECIPE.items():
        if name != "conditions":
            parser.add_argument(
                f"--{name.replace('_', '-')}", type=type(value), help="default: the row's"
            )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", metavar="FILE.keras", help="where to keep the trained model")
    receipts.add_option(parser)
    args = parser.parse_args()
    given = {name: getattr(args, name, None) for name in RECIPE}
    recipe = {**RECIPE, **ROWS[args.row], **{k: v for k, v in given.items() if v is not None}}
    vars(args).update(recipe)
    random.seed(args.seed)
    np.random.seed(args.seed)
    music = data.sequences("jsb", conditions=recipe["conditions"], split="source")
    model = make_model(music, recipe, args.seed)
    windows = len(music.tokens("train"))
    updates = recipe["epochs"] * math.ceil(windows / BATCH_SIZE)
    model.compile(make_optimizer(updates))
    start, cpu_start = time.perf_counter(), receipts.cpu_seconds()
    model.fit(music.train, batch_size=BATCH_SIZE, epochs=recipe["epochs"], verbose=2)
    seconds, cpu_seconds = time.perf_counter() - start, receipts.cpu_seconds() - cpu_start
    if args.save:
        model.save(args.save)
    del args.save
    result = {
        "weights": model.count_params(),
        "train_windows": windows,
        "updates": updates,
        "train_seconds": round(seconds),
        "train_cpu_seconds": round(cpu_seconds),
        **measure(model, music),
    }
    receipts.finish(args, result)


if __name__ == "__main__":
    main()
