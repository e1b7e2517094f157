"""What is said of data that cannot be used."""

import contextlib


class DataError(ValueError):
    """Data that cannot be used. The message is one line: what holds, what came in, what to do.

    Example:

    >>> import keras_vae
    >>> try:
    ...     keras_vae.data.Count().fit([2, -1])
    ... except keras_vae.data.DataError as error:
    ...     print(str(error).partition(",")[0])
    ...
    Column 'values' must be counts
    """


@contextlib.contextmanager
def explained(before, advice):
    """Turn what a parser raises into a `DataError`: `before`, the cause, then `advice`.

    It catches every type because parsers of damaged bytes raise almost every type (`SyntaxError`,
    `KeyError`, `struct.error`), and Keras a bare `Exception` for a failed download.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as err:
        cause = shortened(f"{type(err).__name__}: {err}").rstrip(".: ")
        raise DataError(f"{before}{cause}. {advice}") from err


def shortened(text):
    """A text on one line, and no longer than a line may be."""
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:200]}..."
