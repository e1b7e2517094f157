"""`fit` from where an interrupted one was."""

import keras

from keras_vae.training.checkpoint import Checkpoint


def fit(model, keras_fit, x, settings, batches=None, as_dataset=None):
    """Call Keras' `fit`, from where a `Checkpoint` among the callbacks was interrupted.

    Args:
        model: Keras model.
        keras_fit: Its method `fit`, as Keras has it.
        x: What is to be fitted, as Keras takes it.
        settings: Dict of the other arguments of `fit`, with a list of `callbacks`.
        batches: The `Batches` that `x` is made of; None if their order cannot be repeated.
        as_dataset: Optional function from `Batches` to what Keras takes.

    Returns:
        Keras' `History`, with the epochs before the interruption.
    """

    checkpoint = next((c for c in settings["callbacks"] if isinstance(c, Checkpoint)), None)
    if checkpoint is None:
        return keras_fit(x, **settings)
    with checkpoint.guarding(model, batches) as (epoch, step):
        epoch = epoch or settings.get("initial_epoch", 0)
        epochs = settings.get("epochs", 1)
        if step:
            # What is left of the interrupted epoch is an epoch of fewer batches.
            rest = batches.after(step)
            settings["callbacks"] = InTwoParts(
                settings["callbacks"],
                model,
                verbose=settings.get("verbose", "auto"),
                epochs=epochs,
                steps=len(batches),
            )
            x_of_rest = as_dataset(rest) if as_dataset else rest
            keras_fit(x_of_rest, **{**settings, "initial_epoch": epoch, "epochs": epoch + 1})
            checkpoint.reload()
            epoch += 1
            if model.stop_training:
                epochs = epoch
        history = keras_fit(x, **{**settings, "initial_epoch": epoch, "epochs": epochs})
        checkpoint.complete(history)
        return history


class InTwoParts(keras.callbacks.CallbackList):
    """The callbacks of one training that is two calls of Keras' `fit`: it begins and ends once.

    Args:
        callbacks: List of callbacks.
        model: The model.
        verbose: As for `fit`.
        **params: Of the callbacks: `epochs` and `steps`.
    """

    def __init__(self, callbacks, model, verbose, **params):
        shows = verbose != 0
        super().__init__(callbacks, True, shows, model=model, verbose=verbose, **params)
        self.begun = self.ended = 0

    def on_train_begin(self, logs=None):
        self.begun += 1
        if self.begun == 1:
            super().on_train_begin(logs)

    def on_train_end(self, logs=None):
        self.ended += 1
        if self.ended == 2:
            super().on_train_end(logs)
