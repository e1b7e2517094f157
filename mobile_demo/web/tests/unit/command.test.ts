import fs from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

import { commandOf } from "../../src/command";
import type { Condition } from "../../src/manifest";
import { folderName } from "../../tools/models";

const label: Condition = { name: "label", kind: "categorical", size: 2, names: ["7", "ankle boot's"] };
const angle: Condition = { name: "angle", kind: "continuous", size: 2, names: [] };
const colour: Condition = { name: "colour", kind: "categorical", size: 2, names: ["red", "blue"] };
const tags: Condition = { name: "tags", kind: "multi_label", size: 3, names: ["red", "round", "very big"] };
const root = path.resolve(import.meta.dirname, "../../../..");
const asked = { file: "decoder.onnx", conditions: [label], choice: { label: 0 }, all: null, count: 9, seed: 42, temperature: 1 };

test("the command names a file and a program that exist", () => {
  const folder = folderName(path.join(root, "mobile_demo/models"))!;
  const words = commandOf({ ...asked, file: `${folder}/decoder.int8.tflite` }).split(" ");
  expect(words.join(" ")).toBe(
    "python mobile_demo/edge/sample.py --model mobile_demo/models/decoder.int8.tflite --label 7 --count 9 --seed 42",
  );
  for (const word of [words[1]!, words[3]!]) expect(fs.existsSync(path.join(root, word))).toBe(true);
});

test("a folder outside of the project is not told to the world", () => {
  expect(folderName("/home/somebody/models")).toBeUndefined();
  expect(folderName(path.join(root, "runs/mine/export"))).toBe("runs/mine/export");
});

test.each([
  [{}, "--label 7 --count 9 --seed 42"],
  [{ choice: { label: 1 } }, "--label 'ankle boot'\\''s' --count 9 --seed 42"],
  [{ all: "label", temperature: 0.8 }, "--count 9 --seed 42 --temperature 0.8"],
  [{ conditions: [], choice: {} }, "--count 9 --seed 42"],
  [
    { conditions: [colour, angle, label], choice: { colour: 1, angle: [0.5, -1], label: 2 } },
    "--condition colour=blue --condition angle=0.5,-1 --label unknown --count 9 --seed 42",
  ],
  [{ conditions: [angle], choice: { angle: [NaN, NaN] } }, "--condition angle=unknown --count 9 --seed 42"],
  [{ conditions: [tags], choice: { tags: [1, 1, 0] } }, "--condition tags=red+round --count 9 --seed 42"],
  [{ conditions: [tags], choice: { tags: [0, 0, 1] } }, "--condition 'tags=very big' --count 9 --seed 42"],
  [{ conditions: [tags], choice: { tags: [0, 0, 0] } }, "--condition tags= --count 9 --seed 42"],
  [{ conditions: [tags], choice: { tags: [2, 2, 2] } }, "--condition tags=unknown --count 9 --seed 42"],
])("%j", (changes, expected) => {
  expect(commandOf({ ...asked, ...changes })).toBe(`python mobile_demo/edge/sample.py --model decoder.onnx ${expected}`);
});
