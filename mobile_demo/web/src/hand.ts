// A hand that draws by itself, until a person does: digits as lines through a few points.

import type { Stroke } from "./drawing";

const DIGITS: Record<string, [number, number][]> = {
  "7": [[0.27, 0.25], [0.5, 0.235], [0.72, 0.25], [0.6, 0.48], [0.47, 0.82]],
  "3": [[0.32, 0.27], [0.45, 0.18], [0.61, 0.22], [0.64, 0.34], [0.54, 0.45], [0.44, 0.48], [0.6, 0.52], [0.68, 0.66], [0.58, 0.79], [0.42, 0.82], [0.29, 0.73]],
  "2": [[0.31, 0.35], [0.38, 0.22], [0.52, 0.18], [0.65, 0.26], [0.65, 0.4], [0.53, 0.57], [0.38, 0.71], [0.29, 0.8], [0.48, 0.785], [0.72, 0.79]],
  "5": [[0.67, 0.2], [0.53, 0.21], [0.41, 0.22], [0.38, 0.34], [0.37, 0.46], [0.53, 0.43], [0.67, 0.54], [0.66, 0.71], [0.51, 0.81], [0.31, 0.76]],
  "8": [[0.6, 0.26], [0.47, 0.19], [0.36, 0.29], [0.45, 0.43], [0.6, 0.55], [0.64, 0.7], [0.5, 0.81], [0.36, 0.71], [0.43, 0.56], [0.57, 0.43], [0.63, 0.3], [0.57, 0.23]],
  "0": [[0.53, 0.19], [0.37, 0.3], [0.33, 0.54], [0.41, 0.76], [0.54, 0.81], [0.66, 0.67], [0.68, 0.42], [0.61, 0.23], [0.5, 0.19]],
};

/** What is drawn, in which hand: how much it leans, how wide it is, how thick the pen. */
const SCRIPT: [string, number, number, number][] = [
  ["7", 0.08, 1, 1],
  ["3", -0.2, 0.9, 0.75],
  ["2", 0.28, 1, 1.35],
  ["5", 0.12, 0.8, 0.9],
  ["8", 0.4, 0.95, 0.8],
  ["0", -0.15, 1.15, 1.5],
];

export interface Hand {
  stroke: Stroke;
  pen: number;
}

/** The stroke number `n` of an endless script. */
export function handwriting(n: number): Hand {
  const [digit, lean, wide, pen] = SCRIPT[n % SCRIPT.length]!;
  const points = DIGITS[digit]!.map(([x, y]): [number, number] => [0.5 + (x - 0.5) * wide + (0.5 - y) * lean, y]);
  return { stroke: along(points, 24), pen };
}

/** A smooth line through some points: Catmull and Rom's spline. */
function along(points: [number, number][], steps: number): Stroke {
  const at = (i: number) => points[Math.min(points.length - 1, Math.max(0, i))]!;
  const stroke: Stroke = [];
  for (let i = 0; i + 1 < points.length; i++) {
    const [a, b, c, d] = [at(i - 1), at(i), at(i + 1), at(i + 2)];
    for (let step = 0; step < steps; step++) {
      const t = step / steps;
      const mix = (k: 0 | 1) =>
        0.5 * (2 * b[k] + (c[k] - a[k]) * t + (2 * a[k] - 5 * b[k] + 4 * c[k] - d[k]) * t * t + (3 * b[k] - a[k] - 3 * c[k] + d[k]) * t ** 3);
      stroke.push([mix(0), mix(1)]);
    }
  }
  stroke.push(at(points.length - 1));
  return stroke;
}
