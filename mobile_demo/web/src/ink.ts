// Images of a model on canvases. Handwriting is ink on the page's paper, light or dark; any other
// picture keeps its colours.

import type { Manifest } from "./manifest";

/** Small images are enlarged here, smoothly: a browser's own smoothing blurs them. */
const SHOWN_SIDE = 112;
const EMPTY_BORDER = 0.08;

export class Painter {
  readonly isInk: boolean;
  readonly height: number;
  readonly width: number;
  readonly pixels: number;
  private readonly by: number;
  private readonly rows: Float32Array;
  private readonly columns: Float32Array;
  private readonly narrow: Float32Array;
  private readonly data: ImageData;

  constructor(private readonly manifest: Manifest) {
    const { height, width, channels } = manifest;
    this.isInk = isInk(manifest);
    this.by = Math.max(1, Math.min(14, Math.ceil(SHOWN_SIDE / Math.max(height, width))));
    this.height = height * this.by;
    this.width = width * this.by;
    this.pixels = height * width * channels;
    this.rows = cubic(height, this.by);
    this.columns = cubic(width, this.by);
    this.narrow = new Float32Array(height * this.width);
    this.data = new ImageData(this.width, this.height);
  }

  /** Paint row `index` of a batch. */
  paint(canvas: HTMLCanvasElement, images: ArrayLike<number>, index = 0): void {
    if (canvas.width !== this.width || canvas.height !== this.height) {
      canvas.width = this.width;
      canvas.height = this.height;
    }
    canvas.getContext("2d")!.putImageData(this.render(images, index), 0, 0);
  }

  /** The picture of row `index`, valid until the next call. */
  render(images: ArrayLike<number>, index = 0): ImageData {
    const { channels, range } = this.manifest;
    const [low, high] = range;
    const bytes = this.data.data;
    const ink = this.isInk ? inkColour() : null;
    for (let channel = 0; channel < channels; channel++) {
      const shown = this.enlarge(images, index * this.pixels + channel, channels);
      for (let i = 0; i < shown.length; i++) {
        const value = Math.min(1, Math.max(0, (shown[i]! - low) / (high - low)));
        if (ink) {
          // A pen's edge is crisp: steeper than the model's grey, with the same middle.
          const t = Math.min(1, Math.max(0, (value - 0.1) / 0.75));
          bytes[4 * i] = ink[0];
          bytes[4 * i + 1] = ink[1];
          bytes[4 * i + 2] = ink[2];
          bytes[4 * i + 3] = 255 * t * t * (3 - 2 * t);
        } else {
          for (let c = channel; c < (channels === 1 ? 3 : channel + 1); c++) bytes[4 * i + c] = 255 * value;
          bytes[4 * i + 3] = 255;
        }
      }
    }
    return this.data;
  }

  private enlarge(images: ArrayLike<number>, first: number, stride: number): Float32Array {
    const { height, width } = this.manifest;
    const { by, narrow } = this;
    const clamp = (place: number, size: number) => Math.min(size - 1, Math.max(0, place));
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < this.width; column++) {
        const place = Math.floor((column + 0.5) / by - 0.5);
        let sum = 0;
        for (let tap = 0; tap < 4; tap++) {
          const source = row * width + clamp(place - 1 + tap, width);
          sum += this.columns[4 * column + tap]! * images[first + source * stride]!;
        }
        narrow[row * this.width + column] = sum;
      }
    }
    const shown = new Float32Array(this.height * this.width);
    for (let row = 0; row < this.height; row++) {
      const place = Math.floor((row + 0.5) / by - 0.5);
      for (let tap = 0; tap < 4; tap++) {
        const source = clamp(place - 1 + tap, height) * this.width;
        const weight = this.rows[4 * row + tap]!;
        for (let column = 0; column < this.width; column++) {
          shown[row * this.width + column]! += weight * narrow[source + column]!;
        }
      }
    }
    return shown;
  }
}

/** Weights of the four source pixels around each enlarged one: a cubic B-spline, halfway to Catmull-Rom. */
function cubic(size: number, by: number): Float32Array {
  const weights = new Float32Array(4 * size * by);
  for (let i = 0; i < size * by; i++) {
    const place = (i + 0.5) / by - 0.5;
    const t = place - Math.floor(place);
    for (let tap = 0; tap < 4; tap++) weights[4 * i + tap] = mitchell(Math.abs(t + 1 - tap));
  }
  return weights;
}

/** Mitchell and Netravali's filter, B = C = 1/3: no rings, little blur. */
function mitchell(x: number): number {
  if (x >= 2) return 0;
  if (x >= 1) return (((-7 / 3) * x + 12) * x - 20) * (x / 6) + 32 / 18;
  return ((7 * x - 12) * x * x + 16 / 3) / 6;
}

/** Whether a model is of pictures, and not of music or tables. */
export function isPicture({ notes, table, series }: Manifest): boolean {
  return !notes && !table && !series;
}

/** Whether a model is of handwriting: grey, and its golden sample empty at the border. */
export function isInk({ golden, height, width, channels, range }: Manifest): boolean {
  if (channels !== 1) return false;
  const images = golden.values.x ?? golden.values.x_reconstructed;
  if (!images) return false;
  const [low, high] = range;
  let [sum, count] = [0, 0];
  images.forEach((value, i) => {
    const [row, column] = [Math.floor((i % (height * width)) / width), i % width];
    if (row > 0 && row < height - 1 && column > 0 && column < width - 1) return;
    sum += (value - low) / (high - low);
    count++;
  });
  return sum / count < EMPTY_BORDER;
}

let known: { text: string; colour: [number, number, number] } | null = null;

/** The page's ink, as the style sheet has it: `#rrggbb`. */
export function inkColour(): [number, number, number] {
  const text = getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
  if (known?.text !== text) {
    const part = (i: number) => Number.parseInt(text.slice(i, i + 2), 16) || 0;
    known = { text, colour: [part(1), part(3), part(5)] };
  }
  return known.colour;
}
