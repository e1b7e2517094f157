"""How far a long part of a command is: a bar on a terminal, elsewhere a line every few seconds."""

import functools
import sys
import time

SECONDS = 10


def bar(text):
    """Make what functions take as `progress`: it hands on a sequence and shows how much is done.

    Args:
        text: Str. What is being done.

    Returns:
        Function from a sequence to an iterator over it.
    """
    return functools.partial(_shown, text)


def _shown(text, items):
    if sys.stdout.isatty():
        from rich.progress import track

        yield from track(items, text, transient=True)
        return
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= SECONDS and done < len(items):
            last, left = now, (now - start) / done * (len(items) - done)
            print(f"{text}: {100 * done // len(items)} %, {about(left)} left", flush=True)


def about(seconds):
    """Seconds in words, to about a tenth: `about 40 s`, `about 12 minutes`."""
    if seconds < 100:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} minutes"
