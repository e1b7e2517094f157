"""`env`: versions, backend and devices."""

import os

from keras_vae.commands.start import start_keras


def env(args):
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
