// Which models the build finds in a folder, and which of their files go with the page.

import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";

import { readAll } from "../../tools/models";

const FIXTURES = path.resolve(import.meta.dirname, "../fixtures");
let folder = "";
beforeEach(() => (folder = fs.mkdtempSync(path.join(os.tmpdir(), "models-"))));
afterEach(() => fs.rmSync(folder, { recursive: true }));

const pictures = (name: string) => {
  fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
  fs.copyFileSync(path.join(FIXTURES, name.endsWith("onnx") ? "decoder.onnx" : "decoder.tflite"), path.join(folder, name));
};

/** An ONNX file of nothing but a manifest. */
function write(name: string, manifest: object) {
  const field = (number: number, content: Buffer) => {
    const size = [];
    for (let rest = content.length; ; rest >>= 7) {
      size.push(rest > 127 ? (rest & 127) | 128 : rest);
      if (rest < 128) break;
    }
    return Buffer.concat([Buffer.from([(number << 3) | 2, ...size]), content]);
  };
  const entry = Buffer.concat([field(1, Buffer.from("keras_vae")), field(2, Buffer.from(JSON.stringify(manifest)))]);
  fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
  fs.writeFileSync(path.join(folder, name), Buffer.concat([field(7, Buffer.alloc(0)), field(14, entry)]));
}

function music(name: string) {
  write(path.join("chorales", name), {
    schema: 1, graph: name.split(".")[0], model: "SequenceVAE", latent_dim: 2, data_shape: [32, 4], conditions: [], quantization: "none",
    data: { kind: "notes", low: 36, high: 81, voices: ["soprano", "alto", "tenor", "bass"], steps_per_beat: 4, repeats: false, given: {} },
    golden: { seed: 42, temperature: 1, token_temperature: 0.7, tolerance: 1e-5, conditions: {}, index: [0, 1] },
  });
}

function codebook(name: string) {
  write(name, {
    schema: 1, graph: name.split(".")[0], model: "VQVAE", latent_dim: 2, data_shape: [2, 2, 1], data_range: [0, 1], conditions: [], quantization: "none",
    golden: { seed: 42, temperature: 1, tolerance: 1e-5, conditions: {}, codes: [[0, 3], [1, 2]], x: [[0, 1, 1, 0], [1, 1, 0, 0]] },
  });
}

test("a folder holds a model, and folders in it further ones", () => {
  pictures("decoder.tflite");
  pictures("decoder.onnx");
  for (const name of ["decoder.onnx", "sampler.onnx", "sampler.exact.onnx", "encoder.onnx", "scorer.onnx"]) music(name);
  fs.mkdirSync(path.join(folder, "notes"));
  fs.writeFileSync(path.join(folder, "notes", "todo.txt"), "");
  const { bundles, contents } = readAll(folder);
  expect(bundles.map(({ music, files }) => [music, files.map(({ name, precision }) => `${name} ${precision}`)])).toEqual([
    [false, ["decoder.onnx none", "decoder.tflite none"]],
    // What music never runs stays behind.
    [true, ["decoder.onnx none", "sampler.exact.onnx exact", "sampler.onnx none"]],
  ]);
  expect([...contents.keys()].sort()).toEqual(bundles.flatMap(({ files }) => files.map(({ url }) => url)).sort());
  expect(new Set(bundles.map(({ id }) => id)).size).toBe(2);
});

test("music alone is a page, too; nothing is none", () => {
  music("sampler.onnx");
  expect(readAll(folder).bundles.map((bundle) => bundle.music)).toEqual([true]);
  fs.rmSync(path.join(folder, "chorales"), { recursive: true });
  expect(() => readAll(folder)).toThrow(/holds no decoder.tflite or decoder.onnx/);
  expect(() => readAll(path.join(folder, "missing"))).toThrow(/holds no decoder/);
});

test("of a model with a codebook the sampler alone is shown", () => {
  for (const name of ["decoder.onnx", "encoder.onnx"]) codebook(name);
  expect(() => readAll(folder)).toThrow(/holds a model with a codebook.* --graph sampler$/);
  codebook("sampler.onnx");
  expect(readAll(folder).bundles.map(({ files }) => files.map(({ graph }) => graph))).toEqual([["sampler"]]);
});

test("the scorer of a series is a model by itself", () => {
  for (const name of ["scorer.onnx", "scorer.tflite"]) fs.copyFileSync(path.join(FIXTURES, "series", name), path.join(folder, name));
  const { bundles, contents } = readAll(folder);
  expect(bundles).toMatchObject([{ music: false, series: true, files: [{ graph: "scorer" }, { graph: "scorer" }] }]);
  expect(bundles[0]!.id).toMatch(/^[0-9a-f]{8}$/);
  expect(contents.size).toBe(2);
  // Of pictures or rows a scorer alone has nothing to show.
  for (const name of fs.readdirSync(folder)) fs.rmSync(path.join(folder, name));
  fs.copyFileSync(path.join(FIXTURES, "table", "scorer.onnx"), path.join(folder, "scorer.onnx"));
  expect(() => readAll(folder)).toThrow("holds no decoder.tflite");
});
