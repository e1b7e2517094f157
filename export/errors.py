"""What goes wrong in an export."""


class ExportError(RuntimeError):
    """A graph could not be converted, or its file failed the check. No file was left."""
