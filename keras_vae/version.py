"""The version, in a file of its own so that a build can read it without Keras."""

__version__ = "0.1.0"


def requirement(written_by):
    """What to install for a file of a newer version, which has what this one cannot know.

    Args:
        written_by: The version that the file names, of whatever type: the file may be damaged.

    Returns:
        Str such as `keras-vae>=0.4.0`; None if that is no version, or none that is newer.
    """
    from packaging.version import InvalidVersion, Version

    try:
        version = Version(str(written_by)[:40])
    except InvalidVersion:
        return None
    return f"keras-vae>={version.public}" if version > Version(__version__) else None
