// Vite plugin: the page's icons, drawn here: three strokes that become a seven, on a round square.

import zlib from "node:zlib";
import type { Plugin } from "vite";

const PAPER = [28, 30, 48] as const;
const INKS = [
  [94, 100, 160],
  [150, 140, 220],
  [255, 214, 170],
] as const;
/** The same seven in three hands, on a unit square. */
const STROKES = [
  [[0.24, 0.3], [0.62, 0.26], [0.4, 0.76]],
  [[0.29, 0.3], [0.67, 0.29], [0.47, 0.76]],
  [[0.34, 0.3], [0.72, 0.32], [0.54, 0.76]],
] as const;

export function icons(): Plugin {
  return {
    name: "icons",
    generateBundle() {
      for (const size of [180, 192, 512]) {
        this.emitFile({ type: "asset", fileName: `icons/icon-${size}.png`, source: icon(size, 0.22) });
      }
      // Systems cut their own shape out of this one.
      this.emitFile({ type: "asset", fileName: "icons/maskable-512.png", source: icon(512, 0) });
    },
  };
}

function icon(size: number, radius: number): Buffer {
  const lines = Buffer.alloc(size * (1 + 4 * size));
  const edge = 1 / size;
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      const [x, y] = [(column + 0.5) / size, (row + 0.5) / size];
      let colour: number[] = [...PAPER];
      STROKES.forEach((stroke, i) => {
        const near = Math.min(distance(x, y, stroke[0], stroke[1]), distance(x, y, stroke[1], stroke[2]));
        const cover = smooth((0.034 - near) / edge);
        colour = colour.map((value, c) => value + cover * (INKS[i]![c]! - value));
      });
      const inset = Math.hypot(Math.max(radius - x, x - 1 + radius, 0), Math.max(radius - y, y - 1 + radius, 0));
      const alpha = radius ? smooth((radius - inset) / edge) : 1;
      const place = row * (1 + 4 * size) + 1 + 4 * column;
      lines.set([...colour.map(Math.round), Math.round(255 * alpha)], place);
    }
  }
  return png(lines, size);
}

function smooth(value: number): number {
  return Math.min(1, Math.max(0, value + 0.5));
}

function distance(x: number, y: number, [ax, ay]: readonly [number, number], [bx, by]: readonly [number, number]): number {
  const [dx, dy] = [bx - ax, by - ay];
  const t = Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)));
  return Math.hypot(x - ax - t * dx, y - ay - t * dy);
}

function png(lines: Buffer, size: number): Buffer {
  const chunk = (kind: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(kind, "latin1"), data]);
    const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    check.writeUInt32BE(zlib.crc32(body));
    return Buffer.concat([length, body, check]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(size, 0);
  header.writeUInt32BE(size, 4);
  header.set([8, 6, 0, 0, 0], 8);
  const signature = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  const data = zlib.deflateSync(lines, { level: 9 });
  return Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", data), chunk("IEND", Buffer.alloc(0))]);
}
