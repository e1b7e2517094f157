import { expect, test } from "vitest";

import { boxOf, centre, greyOf } from "../../src/preprocess";
import fixture from "../fixtures/preprocess.json";

const { side } = fixture;

function drawing(name: string) {
  const runs = (fixture.drawings as Record<string, number[]>)[name]!;
  const values = new Float64Array(side * side);
  for (let i = 0, place = 0; i < runs.length; i += 2) {
    values.fill(runs[i]! / 255, place, (place += runs[i + 1]!));
  }
  return { values, height: side, width: side };
}

test.each(fixture.cases)("$name is what Python makes of it", (example) => {
  const made = centre(drawing(example.drawing), example.height, example.width, example.box);
  expect(made.length).toBe(example.made.length);
  const error = Math.max(...made.map((value, i) => Math.abs(value - example.made[i]!)));
  // The fixture is rounded to 8 decimals.
  expect(error).toBeLessThan(6e-9);
});

test("the centre of mass of a seven lies in the pixel below the middle", () => {
  const made = centre(drawing("seven"), 28, 28, 20);
  const mass = made.reduce((sum, value) => sum + value, 0);
  const y = made.reduce((sum, value, i) => sum + value * (Math.floor(i / 28) + 0.5), 0) / mass;
  const x = made.reduce((sum, value, i) => sum + value * ((i % 28) + 0.5), 0) / mass;
  expect(y).toBeCloseTo(14.5, 1);
  expect(x).toBeCloseTo(14.5, 1);
});

test("where and how large something is drawn makes no difference", () => {
  const small = new Float64Array(side * side);
  const large = new Float64Array(side * side);
  for (let i = 0; i < 80; i++) for (let j = 0; j < 8; j++) large[(10 + i) * side + 20 + j] = 1;
  for (let i = 0; i < 40; i++) for (let j = 0; j < 4; j++) small[(60 + i) * side + 70 + j] = 1;
  const a = centre({ values: small, height: side, width: side }, 28, 28, 20);
  const b = centre({ values: large, height: side, width: side }, 28, 28, 20);
  expect(Math.max(...a.map((value, i) => Math.abs(value - b[i]!)))).toBeLessThan(1e-12);
});

test("the box follows the training set", () => {
  expect(boxOf("mnist", 28, 28)).toBe(20);
  expect(boxOf("digits", 8, 8)).toBe(8);
  expect(boxOf(null, 32, 32)).toBe(23);
});

test("ink on paper and chalk on slate give the same", () => {
  const pixels = (paper: number, ink: number) => {
    const rgba = new Uint8ClampedArray(4 * 400).fill(255);
    for (let i = 0; i < 400; i++) {
      const drawn = i % 20 >= 9 && i % 20 < 12 && i >= 60 && i < 340;
      rgba.fill(drawn ? ink : paper, 4 * i, 4 * i + 3);
    }
    return greyOf(rgba, 20, 20).values;
  };
  expect([...pixels(250, 20)].map((v) => Math.round(v * 1e6))).toEqual(
    [...pixels(5, 235)].map((v) => Math.round(v * 1e6)),
  );
});
