// How a drawing or a picture becomes an image like those of the training set.
// tests/reference/preprocess.py is the same in Python, and the tests hold both against each other.

const FAINTEST = 0.02;

export interface Grey {
  /** In [0, 1], 0 where nothing is, row after row. */
  values: Float32Array | Float64Array;
  height: number;
  width: number;
}

/**
 * Scale what is drawn into a box and put its centre of mass into the middle, as MNIST was made:
 * a box of 20 in 28 x 28. All 0 without a drawing.
 */
export function centre(drawing: Grey, height: number, width: number, box: number): Float64Array {
  const { values } = drawing;
  let [top, bottom, left, right] = [Infinity, 0, Infinity, 0];
  for (let row = 0, i = 0; row < drawing.height; row++) {
    for (let column = 0; column < drawing.width; column++, i++) {
      if (!(values[i]! > FAINTEST)) continue;
      top = Math.min(top, row);
      bottom = Math.max(bottom, row + 1);
      left = Math.min(left, column);
      right = Math.max(right, column + 1);
    }
  }
  if (bottom === 0) return new Float64Array(height * width);
  let [mass, massY, massX] = [0, 0, 0];
  for (let row = top; row < bottom; row++) {
    for (let column = left; column < right; column++) {
      const ink = values[row * drawing.width + column]!;
      mass += ink;
      massY += ink * (row + 0.5);
      massX += ink * (column + 0.5);
    }
  }
  const scale = Math.max(bottom - top, right - left) / box;
  const over = coverage(drawing.height, height, start(massY / mass, top, bottom, height, scale), scale);
  const across = coverage(drawing.width, width, start(massX / mass, left, right, width, scale), scale);
  return resample(drawing, over, across);
}

/** The whole picture in another size. */
export function whole(picture: Grey, height: number, width: number): Float64Array {
  const over = coverage(picture.height, height, 0, picture.height / height);
  const across = coverage(picture.width, width, 0, picture.width / width);
  return resample(picture, over, across);
}

/** Source pixels under a target pixel, and what part of it each covers. */
type Cover = [number, number][][];

function resample({ values, width: stride }: Grey, over: Cover, across: Cover): Float64Array {
  const width = across.length;
  const made = new Float64Array(over.length * width);
  const narrow = new Float64Array(width);
  over.forEach((rows, row) => {
    for (const [y, partY] of rows) {
      narrow.fill(0);
      for (let column = 0; column < width; column++) {
        for (const [x, partX] of across[column]!) narrow[column]! += values[y * stride + x]! * partX;
      }
      for (let column = 0; column < width; column++) made[row * width + column]! += narrow[column]! * partY;
    }
  });
  return made.map((value) => Math.min(1, Math.max(0, value)));
}

/** Where the image begins, so that its middle pixel lies on the mass and nothing falls off. */
function start(mass: number, first: number, last: number, size: number, scale: number): number {
  return Math.min(Math.max(mass - (Math.floor(size / 2) + 0.5) * scale, last - size * scale), first);
}

function coverage(source: number, target: number, begin: number, scale: number): Cover {
  return Array.from({ length: target }, (_, i) => {
    const low = begin + scale * i;
    const high = low + scale;
    const parts: [number, number][] = [];
    for (let pixel = Math.max(0, Math.floor(low)); pixel < Math.min(source, high); pixel++) {
      const overlap = Math.min(high, pixel + 1) - Math.max(low, pixel);
      if (overlap > 0) parts.push([pixel, overlap / scale]);
    }
    return parts;
  });
}

/** The longer side of a drawing in an image, as the training set has it. */
export function boxOf(data: string | null, height: number, width: number): number {
  const side = Math.min(height, width);
  // scikit-learn's digits fill their 8 x 8 pixels.
  return data === "digits" ? side : Math.max(1, Math.round((side * 20) / 28));
}

/** Grey of RGBA bytes over black, in [0, 1]. */
export function luminance(rgba: Uint8ClampedArray, height: number, width: number): Grey {
  const values = Float64Array.from({ length: height * width }, (_, i) => {
    const [r = 0, g = 0, b = 0, a = 0] = rgba.subarray(4 * i, 4 * i + 4);
    return (((0.299 * r + 0.587 * g + 0.114 * b) / 255) * a) / 255;
  });
  return { values, height, width };
}

/** What is written in a photograph, in [0, 1]: a dark subject on light paper is inverted. */
export function greyOf(rgba: Uint8ClampedArray, height: number, width: number): Grey {
  const values = Float64Array.from(luminance(rgba, height, width).values);
  let [border, count] = [0, 0];
  values.forEach((value, i) => {
    const [row, column] = [Math.floor(i / width), i % width];
    if (row > 0 && row < height - 1 && column > 0 && column < width - 1) return;
    border += value;
    count++;
  });
  const onPaper = border / count > 0.5;
  const inked = onPaper ? values.map((value) => 1 - value) : values;
  const sorted = inked.slice().sort();
  // The paper is never quite even: what is no darker than most of it counts as nothing.
  const [low, high] = [sorted[Math.floor(sorted.length * 0.6)]!, sorted[sorted.length - 1]!];
  const floor = low + 0.15 * (high - low);
  const stretched = inked.map((value) => (high > floor ? Math.max(0, (value - floor) / (high - floor)) : 0));
  return { values: stretched, height, width };
}
