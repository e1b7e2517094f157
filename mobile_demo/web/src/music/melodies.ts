// Melodies to begin with: old tunes, two of our own, and one for every seed.

import type { Notes as Schema } from "../manifest";
import { words } from "../random";
import { lineFrom } from "./notes";
import type { Line } from "./notes";

type Notes = [pitch: number, length: number][];

const quarters = (...pitches: number[]): Notes => pitches.map((pitch) => [pitch, 4]);

/** Two bars each. */
export const MELODIES: Record<string, Notes> = {
  "Ode to Joy": quarters(71, 71, 72, 74, 74, 72, 71, 69),
  "Vom Himmel hoch": quarters(72, 71, 69, 71, 67, 69, 71, 72),
  "Old Hundredth": quarters(67, 67, 66, 64, 62, 67, 69, 71),
  "Frère Jacques": quarters(65, 67, 69, 65, 65, 67, 69, 65),
  "Ah, vous dirai-je": [...quarters(65, 65, 72, 72, 74, 74), [72, 8]],
  "Up and down": [[67, 4], [69, 2], [71, 2], [72, 4], [74, 4], [76, 2], [74, 2], [72, 2], [71, 2], [72, 8]],
  "A sigh": [[76, 4], [74, 4], [72, 4], [71, 4], [72, 2], [71, 2], [69, 4], [68, 4], [69, 4]],
};

/** Rhythms of a bar, in sixteenths of four beats. */
const RHYTHMS = [[4, 4, 4, 4], [4, 4, 8], [4, 2, 2, 4, 4], [4, 4, 2, 2, 4], [2, 2, 4, 4, 4], [6, 2, 4, 4], [8, 4, 4]];
const LAST_RHYTHMS = [[4, 4, 8], [4, 2, 2, 8], [2, 2, 4, 8], [6, 2, 8]];
const SCALES = [[0, 2, 4, 5, 7, 9, 11], [0, 2, 3, 5, 7, 8, 10]];
const BAR = 16;
/** Where a voice sings with ease: no higher or lower than these. */
const [LOWEST, HIGHEST] = [62, 77];

/**
 * The melody of a seed, by a few rules: it begins on a note of the chord of the key, goes by steps,
 * turns back after a leap and at the ends of the range, and closes on a long note of that chord.
 */
export function melodyOf(seed: number, steps: number): Line {
  let drawn = 0;
  const draw = (count: number) => words(seed, drawn++, 3000)[0] % count;
  const scale = SCALES[draw(2)]!;
  const tonic = 60 + draw(12);
  const degrees = Array.from({ length: 36 }, (_, i) => tonic - 12 + 12 * Math.floor(i / 7) + scale[i % 7]!);
  const isChordal = (place: number) => [0, 2, 4].includes(place % 7);
  const range = degrees.flatMap((pitch, place) => (pitch >= LOWEST && pitch <= HIGHEST ? [place] : []));
  const [lowest, highest] = [range[0]!, range.at(-1)!];
  const starts = range.filter((place) => isChordal(place) && place > lowest && place < highest);
  let place = starts[draw(starts.length)]!;
  let leap = 0;
  const notes: Notes = [];
  const bars = Math.ceil(steps / BAR);
  for (let bar = 0; bar < bars; bar++) {
    const rhythms = bar === bars - 1 ? LAST_RHYTHMS : RHYTHMS;
    const rhythm = rhythms[draw(rhythms.length)]!;
    rhythm.forEach((length, i) => {
      const isFirst = notes.length === 0;
      const isLast = bar === bars - 1 && i === rhythm.length - 1;
      if (isLast) place = [0, -1, 1, -2, 2].map((by) => place + by).find((one) => isChordal(one) && one >= lowest && one <= highest)!;
      else if (!isFirst) {
        const size = leap ? 1 : [1, 1, 1, 1, 2, 3][draw(6)]!;
        let direction = leap ? -Math.sign(leap) : draw(2) ? 1 : -1;
        if (place + direction * size > highest) direction = -1;
        if (place + direction * size < lowest) direction = 1;
        place += direction * size;
        leap = size > 1 ? direction * size : 0;
      }
      notes.push([degrees[place]!, length]);
    });
  }
  return lineFrom(notes, steps);
}

/** A line an octave or more higher or lower, if it must be; what is still out of range is a rest. */
export function within(line: Line, { low, high }: Schema): Line {
  const fits = (pitch: number) => pitch >= low && pitch <= high;
  const shifts = [0, -12, 12, -24, 24, -36, 36];
  const shift = shifts.find((by) => line.every(({ pitch }) => pitch === 0 || fits(pitch + by))) ?? 0;
  return line.map(({ pitch, struck }) =>
    pitch > 0 && fits(pitch + shift) ? { pitch: pitch + shift, struck } : { pitch: 0, struck: false },
  );
}
