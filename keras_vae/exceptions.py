"""What exceptions of Keras and of its backends say, without importing either."""

import re

_OUT_OF_MEMORY = {"OutOfMemoryError", "ResourceExhaustedError"}  # of PyTorch and of TensorFlow
_WORDS = ("allocate memory", "RESOURCE_EXHAUSTED")  # of PyTorch on a CPU, and of JAX


def is_out_of_memory(err):
    """Whether an exception says that memory ran out."""
    if isinstance(err, MemoryError) or type(err).__name__ in _OUT_OF_MEMORY:
        return True
    return isinstance(err, RuntimeError) and any(words in str(err) for words in _WORDS)


def reason(err):
    """The one line of a Keras error that says what is wrong."""
    text = str(err).split("Arguments received by")[0].split("Exception encountered: ")[-1]
    lines = re.sub(r"\x1b\[\d*m", "", text).split("\n")
    return one_line(" ".join([line for line in lines if line.strip()][-1:]))


def one_line(text, limit=300):
    """A text on one line, without the control characters a file may put there.

    Args:
        text: What `str` takes, such as an exception.
        limit: Int, the most characters.
    """
    text = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."
