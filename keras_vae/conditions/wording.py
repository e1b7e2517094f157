"""Values and names in the few words that an error has room for."""


def shortened(value, limit=80):
    text = " ".join(repr(value).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def listing(names, limit=20):
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
