"""Print versions, backend and devices: what a bug report needs."""

import os

from keras_vae.commands.start import start_keras


def add_arguments(parser):
    """It has those that every command has."""


def main(args):
    start_keras(args.backend)
    import platform

    import keras

    from keras_vae.storage.runs import versions
    from keras_vae.training import devices

    for name, version in versions().items():
        print(f"{name:>15} {version}")
    print(f"{'backend':>15} {keras.backend.backend()}")
    print(f"{'devices':>15} {', '.join(devices())}")
    print(f"{'platform':>15} {platform.platform()}, {os.cpu_count()} cores")
