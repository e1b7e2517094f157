// Normal draws that are the same bits as in Python and in every exported sampler:
// keras_vae/portable_random.py says how they are made and why. Every product stays below 2^31.

export const SEEDS = 2 ** 31;

/** Any seed, of the browser's own generator. */
export function anySeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]! >>> 1;
}
export const MOST_EXAMPLES = 2 ** 20;

const ROUNDS = 7;
const KEY_OFFSETS = [40503, 35129, 46337] as const;
const KEY_FACTORS = [20077, 25057] as const;
const TABLE_SIZE = 4096;
const MOST_DIMENSIONS = 4096;
const VARIANCES = [9 / 16, 7 / 16] as const;
const OUTERMOST = 1.02;
const GRID = 2 ** 18;

/** The two 16-bit words of a counter. */
export function words(seed: number, index: number, dimension: number): [number, number] {
  const low = seed % 65536;
  const high = Math.floor(seed / 65536);
  const mixed = (low * KEY_FACTORS[0] + high * KEY_FACTORS[1]) % 65536;
  const key = [low + KEY_OFFSETS[0], high + KEY_OFFSETS[1], mixed + KEY_OFFSETS[2]];
  let left = Math.floor(index / 65536) * MOST_DIMENSIONS + dimension;
  let right = index % 65536;
  for (let n = 0; n < ROUNDS; n++) {
    const x = right + key[n % 3]!;
    [left, right] = [right, (Math.floor((x * Math.floor(x / 16)) / 128) + left) % 65536];
  }
  return [left, right];
}

/** Codes from N(0, temperature^2), row after row: the ones that `model.sample` decodes. */
export function draw(seed: number, count: number, latentDim: number, temperature = 1): Float32Array {
  const [a, b] = tables();
  const scale = Math.fround(temperature);
  const z = new Float32Array(count * latentDim);
  for (let i = 0; i < count; i++) {
    for (let d = 0; d < latentDim; d++) {
      const [first, second] = words(seed, i, d);
      // The sum is exact on the tables' grid; the product is rounded to float32 by the array.
      z[i * latentDim + d] = scale * (a[first >> 4]! + b[second >> 4]!);
    }
  }
  return z;
}

let cached: [Float32Array, Float32Array] | null = null;

/** The values that the two words stand for: means of slices of equal probability. */
export function tables(): [Float32Array, Float32Array] {
  if (cached) return cached;
  const density = new Float64Array(TABLE_SIZE + 1);
  for (let i = 1; i < TABLE_SIZE; i++) {
    const edge = quantile(i / TABLE_SIZE);
    density[i] = Math.exp((edge * edge) / -2) / Math.sqrt(2 * Math.PI);
  }
  const means = Float64Array.from({ length: TABLE_SIZE }, (_, i) => (density[i]! - density[i + 1]!) * TABLE_SIZE);
  means[0]! *= OUTERMOST;
  means[TABLE_SIZE - 1]! *= OUTERMOST;
  const scale = Math.sqrt(means.reduce((sum, mean) => sum + mean * mean, 0) / TABLE_SIZE);
  const table = (variance: number) =>
    Float32Array.from(means, (mean) => roundHalfEven((mean / scale) * Math.sqrt(variance) * GRID) / GRID);
  return (cached = [table(VARIANCES[0]), table(VARIANCES[1])]);
}

function roundHalfEven(value: number): number {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/** Inverse of the normal distribution function: Wichura's algorithm AS 241, as Python has it. */
function quantile(p: number): number {
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) {
    const r = 0.180625 - q * q;
    return (polynomial(CENTRE[0], r) * q) / polynomial(CENTRE[1], r);
  }
  // The algorithm has a third part, for p below 1.4e-11: no edge of a table is so far out.
  const r = Math.sqrt(-Math.log(q <= 0 ? p : 1 - p)) - 1.6;
  const x = polynomial(TAILS[0], r) / polynomial(TAILS[1], r);
  return q < 0 ? -x : x;
}

/** Coefficients from the highest power down. */
function polynomial(coefficients: readonly number[], r: number): number {
  return coefficients.reduce((sum, coefficient) => sum * r + coefficient, 0);
}

const CENTRE = [
  [
    2509.0809287301227, 33430.57558358813, 67265.7709270087, 45921.95393154987,
    13731.69376550946, 1971.5909503065513, 133.14166789178438, 3.3871328727963665,
  ],
  [
    5226.495278852854, 28729.085735721943, 39307.89580009271, 21213.794301586597,
    5394.196021424751, 687.1870074920579, 42.31333070160091, 1.0,
  ],
] as const;
const TAILS = [
  [
    0.0007745450142783414, 0.022723844989269184, 0.2417807251774506, 1.2704582524523684,
    3.6478483247632045, 5.769497221460691, 4.630337846156546, 1.4234371107496835,
  ],
  [
    1.0507500716444169e-09, 0.0005475938084995345, 0.015198666563616457, 0.14810397642748008,
    0.6897673349851, 1.6763848301838038, 2.053191626637759, 1.0,
  ],
] as const;
