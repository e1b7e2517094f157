"""Which pieces have a tune in common, so that none is tested that was trained on."""

import collections

import numpy as np

from keras_vae.data.errors import DataError

# A tune is told by so many steps of the highest voice, if it moves often enough in them.
_TUNE_STEPS = 32
_TUNE_CHANGES = 5
# What two pieces have in common of what tells their tunes, if it is one tune. Among chorales less
# is in common by chance: phrases that many tunes end with.
_TUNE_SHARE = 0.2


def key_free(melody):
    """A melody as bytes that are the same in whatever key; of MIDI pitches, -1 for silence."""
    sounds = melody >= 0
    first = melody[np.argmax(sounds)]
    return np.where(sounds, melody.astype("int16") - first, 1000).tobytes()


def _tunes(piece):
    """All that tells the tune of a piece: each window of its highest voice, from every beat.

    Where none moves often enough it is the whole voice.
    """
    melody = piece.pitches[:, 0]
    steps = min(_TUNE_STEPS, len(melody))
    found = set()
    for start in range(0, len(melody) - steps + 1, 4):
        part = melody[start : start + steps]
        if np.count_nonzero(np.diff(part)) >= _TUNE_CHANGES:
            found.add(key_free(part))
    return found or {key_free(melody)}


class _Known:
    """Which pieces have a tune in common: a fifth of what tells the tune of one of them."""

    def __init__(self):
        self.places = collections.defaultdict(list)
        self.sizes = []

    def add(self, tunes):
        """Add a piece, by what `_tunes` gives of it."""
        for tune in tunes:
            self.places[tune].append(len(self.sizes))
        self.sizes.append(len(tunes))

    def akin(self, tunes):
        """The numbers of added pieces that have a tune in common with another."""
        counts = collections.Counter(n for tune in tunes for n in self.places.get(tune, ()))
        least = {n: _TUNE_SHARE * min(len(tunes), self.sizes[n]) for n in counts}
        return [n for n, count in counts.items() if count >= least[n]]


def set_aside(found):
    """Leave out pieces whose tune is in an earlier split, and return these besides."""
    kept, aside, known = {"train": found["train"]}, [], _Known()
    for part, earlier in (("test", "train"), ("validation", "test")):
        for piece in kept[earlier]:
            known.add(_tunes(piece))
        heard = [piece for piece in found[part] if known.akin(_tunes(piece))]
        kept[part] = [piece for piece in found[part] if piece not in heard]
        aside += heard
    return {part: kept[part] for part in found}, aside


def split(found, name):
    """Deal out the pieces of a source by tune: seven tenths to train, a tenth, and a fifth."""
    same, known = list(range(len(found))), _Known()

    def group(number):
        while same[number] != number:
            number = same[number]
        return number

    for number, piece in enumerate(found):
        tunes = _tunes(piece)
        for other in known.akin(tunes):
            same[group(number)] = group(other)
        known.add(tunes)
    groups = [group(number) for number in range(len(found))]
    different = sorted(set(groups))
    if len(different) < 2:
        raise DataError(
            f"{name} must have at least two tunes, one to train and one to test with. Received: "
            f"{len(found)} pieces of {len(different)}. Add pieces."
        )
    order = np.random.RandomState(0).permutation(different).tolist()
    tests, validations = max(1, round(len(order) / 5)), round(len(order) / 10)
    part_of = dict.fromkeys(order, "train")
    part_of |= dict.fromkeys(order[:tests], "test")
    part_of |= dict.fromkeys(order[tests : tests + validations], "validation")
    return {
        part: [p for p, g in zip(found, groups, strict=True) if part_of[g] == part]
        for part in ("train", "validation", "test")
    }
