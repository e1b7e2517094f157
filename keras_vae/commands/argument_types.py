"""What words of the command line are parsed to."""

import argparse


def ints(text):
    """Parse `512,256`."""
    values = tuple(positive_int(word) for word in text.split(",") if word)
    if not values:
        raise argparse.ArgumentTypeError("must be at least one number")
    return values


def words(text):
    """Parse `melody,key`."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def non_negative_int(text):
    """Parse a whole number that is not negative."""
    if not text.strip().isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, not negative: {text}")
    return int(text)


def positive_int(text):
    """Parse a whole number of at least 1."""
    value = non_negative_int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1: {text}")
    return value


def image_size(text):
    """Parse `64`, or `64x48` of width and height, to an int or `(height, width)`."""
    width, times, height = text.partition("x")
    if not times:
        return positive_int(text)
    return positive_int(height), positive_int(width)
