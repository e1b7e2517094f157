"""What goes wrong in an export."""


class ExportError(RuntimeError):
    """A graph could not be converted, or its file failed the check. No file was left.

    Example:

    >>> import export
    >>> issubclass(export.ExportError, Exception)
    True

    See also:
        `export`, which raises it.
    """
