// Notes as a model has them, tokens of steps, and as a person has them.

import type { Notes } from "../manifest";

/** What a voice does in a step. */
export interface Step {
  /** As in MIDI; 0 for a rest. */
  pitch: number;
  /** Whether the note begins here. */
  struck: boolean;
}

export type Line = Step[];

export interface Note {
  voice: number;
  pitch: number;
  /** In steps; the end is the first step without it. */
  start: number;
  end: number;
}

const NAMES = ["C", "C sharp", "D", "E flat", "E", "F", "F sharp", "G", "A flat", "A", "B flat", "B"];

/** The names of all voices, those that are given first. */
export function voicesOf(notes: Notes): string[] {
  return [...Object.values(notes.given), ...notes.voices];
}

/** The tokens of a line. Without a token for it a note struck again is held on. */
export function tokensOf(line: Line, { low, high, repeats }: Notes): number[] {
  return line.map(({ pitch, struck }, i) => {
    if (pitch === 0) return 0;
    const again = repeats && struck && i > 0 && line[i - 1]!.pitch === pitch;
    return pitch - low + 1 + (again ? high - low + 1 : 0);
  });
}

/** The lines of a piece: `(steps, voices)` tokens. Steps beyond its end, -1, are rests. */
export function linesOf(tokens: ArrayLike<number>, { low, high, voices, steps }: Notes): Line[] {
  const pitches = high - low + 1;
  return voices.map((_, voice) => {
    let before = 0;
    return Array.from({ length: steps }, (_, step): Step => {
      const token = tokens[step * voices.length + voice]!;
      const again = token > pitches;
      const pitch = token < 1 ? 0 : low + token - 1 - (again ? pitches : 0);
      const struck = pitch > 0 && (again || pitch !== before);
      before = pitch;
      return { pitch, struck };
    });
  });
}

/** What is heard, in the order in which it begins. */
export function notesOf(lines: Line[]): Note[] {
  const found: Note[] = [];
  lines.forEach((line, voice) => {
    let note: Note | null = null;
    line.forEach(({ pitch, struck }, step) => {
      if (note && !struck && pitch === note.pitch) note.end = step + 1;
      else if (pitch === 0) note = null;
      else found.push((note = { voice, pitch, start: step, end: step + 1 }));
    });
  });
  return found.sort((a, b) => a.start - b.start || a.voice - b.voice);
}

/** A line from pitches and their lengths in steps, cut or repeated to a number of steps. */
export function lineFrom(notes: [pitch: number, length: number][], steps: number): Line {
  const whole = notes.flatMap(([pitch, length]) =>
    Array.from({ length }, (_, i): Step => ({ pitch, struck: pitch > 0 && i === 0 })),
  );
  return Array.from({ length: steps }, (_, i) => ({ ...whole[i % whole.length]! }));
}

/** The pitches of a line and their lengths in steps, rests among them. */
export function pairsOf(line: Line): [pitch: number, length: number][] {
  const pairs: [number, number][] = [];
  line.forEach(({ pitch, struck }) => {
    const last = pairs.at(-1);
    if (last && !struck && last[0] === pitch) last[1]++;
    else pairs.push([pitch, 1]);
  });
  return pairs;
}

/** The name of a pitch as it is read aloud; middle C is C 4. */
export function nameOf(pitch: number): string {
  return pitch === 0 ? "rest" : `${NAMES[pitch % 12]!} ${Math.floor(pitch / 12) - 1}`;
}

/** The name of a pitch as it is written. */
export function writtenName(pitch: number): string {
  return nameOf(pitch).replace(" sharp", "♯").replace(" flat", "♭").replace(" ", "\u2009");
}
