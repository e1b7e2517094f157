"""`python -m tests.attacks`: open every attack in a process of its own, and measure it.

Time is that of opening the file; memory is of the process, with all of the libraries in
it, or of one that it started.
"""

import argparse
import functools
import sys

SECONDS = 5
MEGABYTES = 1000


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__)
    parser.add_argument("--only", default="", help="those whose names hold this")
    parser.add_argument(
        "--by-keras", action="store_true", help="open models by keras.saving.load_model alone"
    )
    options = parser.parse_args()

    from tests.attacks import apart, files, readers

    files.SOUND.update(apart.computed(files.sound_model))
    attacks = [attack for name, attack in sorted(files.ATTACKS.items()) if options.only in name]
    if options.by_keras:
        attacks = [a for a in attacks if a.reader == "model"]

    def prepare(attack, folder):
        files.clean(folder)
        read = readers.by_keras if options.by_keras else readers.READERS[attack.reader]
        return functools.partial(read, attack.make(folder))

    refused, slowest, largest = 0, 0.0, 0.0
    for attack in attacks:
        # A process for each: the largest memory of one does not fall again.
        one = lambda _, folder, attack=attack: prepare(attack, folder)  # noqa: E731
        [result] = apart.try_each(1, one, SECONDS, MEGABYTES)
        good = result.fault is None and result.refusal is not None
        good = good and (options.by_keras or attack.words in result.refusal)
        refused += good
        slowest, largest = max(slowest, result.seconds), max(largest, result.megabytes)
        said = result.fault or result.refusal or "it was read"
        print(
            f"{'ok    ' if good else 'FAILED'}  {result.seconds:5.2f} s {result.megabytes:5.0f} MB"
            f"  {attack.name}: {said}",
            flush=True,
        )
    print(
        f"{refused} of {len(attacks)} attack files refused in one line; the slowest took "
        f"{slowest:.1f} s, the largest process {largest:.0f} MB"
    )
    return 0 if refused == len(attacks) else 1


if __name__ == "__main__":
    sys.exit(main())
