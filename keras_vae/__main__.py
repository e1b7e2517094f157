"""`python -m keras_vae`: train, evaluate, sample, figures, card, export, env."""

import sys

from keras_vae.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
