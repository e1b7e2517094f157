import { createHash } from "node:crypto";

import { expect, test } from "vitest";

import { draw, tables, words } from "../../src/random";
import fixture from "../fixtures/random.json";

const digest = (values: Float32Array) =>
  createHash("sha256")
    .update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
    .digest("hex");

test("the tables are Python's, bit for bit", () => {
  expect(tables().map(digest)).toEqual(fixture.tables);
});

test.each(fixture.blocks)("the draws of seed $seed are Python's, bit for bit", (block) => {
  const z = draw(block.seed, block.count, block.latent_dim, block.temperature);
  expect([...z.subarray(0, 4)]).toEqual(block.first);
  expect(digest(z)).toBe(block.sha256);
});

test("the fixture holds at least 100,000 draws", () => {
  const draws = fixture.blocks.reduce((sum, block) => sum + block.count * block.latent_dim, 0);
  expect(draws).toBeGreaterThanOrEqual(100_000);
});

test("words anywhere in a seed are Python's", () => {
  for (const { counter, words: expected } of fixture.words) {
    expect(words(counter[0]!, counter[1]!, counter[2]!)).toEqual(expected);
  }
});

test("an example does not depend on how many are drawn", () => {
  expect([...draw(3, 2, 5)]).toEqual([...draw(3, 9, 5).subarray(0, 10)]);
});
