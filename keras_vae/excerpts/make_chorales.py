"""Make `jsb_chorales.json` of Bach's chorales as music21 has them, struck notes and keys included.

    pip install music21 "keras-vae[cli]"
    python keras_vae/excerpts/make_chorales.py --out FOLDER/jsb_chorales.json

Of the 371 chorales of Riemenschneider's edition it takes those with one soprano, alto, tenor and
bass, each once, on steps of a sixteenth, without their repeats. Pieces of one tune are in one
split. The encodings have licences of their own: none of them is in this repository.
"""

import argparse
import json
import pathlib

import numpy as np

from keras_vae.data import keys, pieces, tunes

VOICES = ("Soprano", "Alto", "Tenor", "Bass")
STEPS_PER_BEAT = 4
NAMES = {"train": "train", "validation": "valid", "test": "test"}


def chorales():
    """Yield the name and the score of every chorale of music21's corpus."""
    from music21 import corpus
    from music21.corpus.chorales import Iterator

    for name in dict.fromkeys(Iterator(returnType="filename")):
        yield pathlib.PurePosixPath(name).name, corpus.parse(name)


def piece_of(name, score):
    """A score as a `Piece`, and `written_key`; None where it has not one of each voice."""
    parts = list(score.parts)
    if len(parts) > len(VOICES):  # instruments beside them
        found = [[p for p in parts if str(p.partName).startswith(voice)] for voice in VOICES]
        parts = [each[0] for each in found if len(each) == 1]
    if len(parts) < len(VOICES):
        return None
    steps = round(STEPS_PER_BEAT * max(part.highestTime for part in parts))
    pitches = np.full((steps, len(VOICES)), -1)
    struck = np.zeros(pitches.shape, bool)
    for voice, part in enumerate(parts):
        for note in part.stripTies().flatten().notes:
            start = round(STEPS_PER_BEAT * float(note.offset))
            stop = round(STEPS_PER_BEAT * float(note.offset + note.quarterLength))
            if start < stop:  # else a grace note, or half of a turn
                pitches[start:stop, voice] = note.pitch.midi
                struck[start, voice] = True
    key = written_key(parts, pitches)
    return pieces.make(pitches, name, struck, key), key


def written_key(parts, pitches):
    """The key of the signature, where the piece ends on its tonic; or None.

    Many a piece in G minor has one flat, as in Bach's time, and the signature is called D minor.
    """
    bass = pitches[:, -1]
    final = bass[bass >= 0][-1]
    for part in parts:
        for key in part.flatten().getElementsByClass("Key"):
            if key.mode in keys.MODES and (final - key.tonic.pitchClass) % 12 == 0:
                return keys.index(key.tonic.pitchClass, key.mode)
    return None


def plain(piece):
    """A piece as `pieces.from_json` reads it."""
    return {
        "name": piece.name,
        "tonic": piece.key % 12,
        "mode": keys.MODES[piece.key // 12],
        "pitches": piece.pitches.tolist(),
        "struck": piece.struck.astype(int).tolist(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default="jsb_chorales.json", type=pathlib.Path)
    args = parser.parse_args()
    found = [piece_of(name, score) for name, score in chorales()]
    whole, written = zip(*(pair for pair in found if pair), strict=True)
    parts = tunes.split(list(whole), "The corpus")
    text = json.dumps({NAMES[part]: [plain(piece) for piece in parts[part]] for part in parts})
    args.out.write_text(text)
    print(f"{args.out}: {len(text):,} bytes, {len(whole)} of {len(found)} chorales")
    as_written = [
        keys.estimate(piece.pitches) == key
        for piece, key in zip(whole, written, strict=True)
        if key is not None
    ]
    print(f"keys.estimate is right for {np.mean(as_written):.1%} of {len(as_written)} signatures")


if __name__ == "__main__":
    main()
