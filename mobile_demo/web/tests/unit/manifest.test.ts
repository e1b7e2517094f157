import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";

import { FileError, checkManifest, errorOf, isTFLite, readManifest } from "../../src/manifest";
import { defaultChoice, rounded } from "../../src/model";
import { csvOf } from "../../src/table";

const FIXTURES = path.resolve(import.meta.dirname, "../fixtures");
const files = ["decoder.tflite", "decoder.onnx"].map((name) => ({ name, content: new Uint8Array(fs.readFileSync(path.join(FIXTURES, name))) }));

const angle = { name: "angle", kind: "continuous", size: 1, names: null };

/** The manifest as it is in the file. */
function raw(): Record<string, any> {
  const text = Buffer.from(files[1]!.content).toString("utf8");
  const start = text.indexOf('{"schema"');
  let depth = 0;
  for (let i = start; ; i++) {
    if (text[i] === "{") depth++;
    if (text[i] === "}" && --depth === 0) return JSON.parse(text.slice(start, i + 1));
  }
}

describe.each(files)("$name", ({ name, content }) => {
  test("says what it is", () => {
    const manifest = readManifest(content, name);
    expect(manifest).toMatchObject({
      graph: "decoder", model: "ConditionalVAE", latentDim: 2, height: 4, width: 4, channels: 1, dataRange: [0, 1], range: [0, 1], guidance: 1, standardNormal: true, quantization: "none",
    });
    expect(manifest.conditions).toEqual([{ name: "label", kind: "categorical", size: 3, names: ["naïve", "<b>bold</b>", "三"] }]);
    expect(manifest.golden.seed).toBe(42);
    expect(manifest.golden.values.z).toHaveLength(4);
    expect(manifest.golden.values.x).toHaveLength(32);
    expect(isTFLite(content)).toBe(name.endsWith("tflite"));
  });

  test("cut off anywhere it is refused or still whole, never misread", () => {
    const whole = JSON.stringify(readManifest(content, name));
    for (let size = 0; size < content.length; size++) {
      try {
        expect(JSON.stringify(readManifest(content.slice(0, size), name))).toBe(whole);
      } catch (err) {
        expect(err, `${size} bytes`).toBeInstanceOf(FileError);
      }
    }
  });

  test("with any byte changed it is read or refused, and nothing else", () => {
    for (let i = 0; i < content.length; i++) {
      for (const change of [0, 0xff, content[i]! ^ 0x80, content[i]! ^ 1]) {
        const altered = content.slice();
        altered[i] = change;
        try {
          readManifest(altered, name);
        } catch (err) {
          expect(err, `byte ${i} to ${change}`).toBeInstanceOf(FileError);
        }
      }
    }
  });

  test("in the middle of a larger buffer it reads the same", () => {
    const padded = new Uint8Array(content.length + 64);
    padded.set(content, 17);
    expect(readManifest(padded.subarray(17, 17 + content.length), name)).toEqual(readManifest(content, name));
  });
});

const KEPT = path.resolve(import.meta.dirname, "../../../../tests/golden");
const kept = (fs.readdirSync(KEPT, { recursive: true }) as string[]).filter((name) => /run.export.\w+(\.[\w-]+)?\.(onnx|tflite)$/.test(name));
test("there are files of earlier versions", () => expect(kept.length).toBeGreaterThan(10));
test.each(kept)("a file that a version wrote is read: %s", (name) => {
  const [graph] = path.basename(name).split(".");
  const manifest = readManifest(new Uint8Array(fs.readFileSync(path.join(KEPT, name))), name);
  expect(manifest).toMatchObject({ graph, model: "ConditionalVAE", height: 8, width: 8, channels: 1 });
  expect(manifest.conditions).toMatchObject([{ name: "label", size: 10 }]);
  expect(manifest.golden.rows).toBe(2);
});

test("other files are refused in a sentence", () => {
  for (const content of [new Uint8Array(), new Uint8Array(7), new Uint8Array(4096).fill(255), new TextEncoder().encode("<html>not found</html>")]) {
    expect(() => readManifest(content, "decoder.onnx")).toThrow(FileError);
  }
});

test("another prior is known as such", () => {
  for (const prior of [{ kind: "gaussian_mixture", components: 2 }, { kind: "real_nvp" }, null, "standard_normal"]) {
    expect(checkManifest({ ...raw(), prior }, "decoder.onnx").standardNormal).toBe(false);
  }
});

test("a newer schema is said, and which version reads it", () => {
  const newer = (versions: unknown) => () => checkManifest({ schema: 2, versions }, "decoder.onnx");
  expect(newer({ keras_vae: "0.4.0" })).toThrow(
    "decoder.onnx is of schema 2, and this page reads 1. Take the page of keras-vae 0.4.0 or newer",
  );
  for (const versions of [undefined, [], { keras_vae: 4 }, { keras_vae: "<b>4</b>" }]) {
    expect(newer(versions)).toThrow(/the page of the keras-vae that wrote it or newer/);
  }
});

test("a map and scores are read where they are", () => {
  const scores = Array.from({ length: 101 }, (_, i) => 80 + i);
  const manifest = checkManifest({ ...raw(), map: { origin: [0, 1], x: [1, 0], y: [0, 2] }, scores }, "decoder.onnx");
  expect([...manifest.map!.y]).toEqual([0, 2]);
  expect(manifest.scores).toHaveLength(101);
  const without = checkManifest({ ...raw(), map: null, scores: null }, "decoder.onnx");
  expect([without.map, without.scores]).toEqual([null, null]);
});

/** A model of music with these changes. */
const notes = (changes: object = {}, conditions: unknown = [{ name: "melody", kind: "sequence", size: null, names: null }]) => ({
  ...raw(),
  data_shape: [32, 3],
  conditions,
  data: {
    kind: "notes", low: 36, high: 81, voices: ["alto", "tenor", "bass"], steps_per_beat: 4, repeats: false, steps: 32, given: { melody: "soprano" },
    ...changes,
  },
});

test("music is known by its data", () => {
  const manifest = checkManifest(notes(), "sampler.onnx");
  expect(manifest.notes).toEqual({
    low: 36, high: 81, voices: ["alto", "tenor", "bass"], given: { melody: "soprano" }, steps: 32, stepsPerBeat: 4, repeats: false,
  });
  expect(manifest.conditions).toEqual([{ name: "melody", kind: "sequence", size: 32, names: [] }]);
  expect(checkManifest(raw(), "decoder.onnx").notes).toBeNull();
  expect(checkManifest(notes({ given: undefined }, []), "sampler.onnx").notes!.given).toEqual({});
});

test.each<[string, object]>([
  ["a range from high to low", { low: 82 }],
  ["a pitch above MIDI's", { high: 128 }],
  ["a pitch that is no whole number", { low: 36.5 }],
  ["too many voices", { voices: ["alto", "tenor", "bass", "viola"] }],
  ["voices without names", { voices: [1, 2, 3] }],
  ["other steps than the shape's", { steps: 64 }],
  ["no steps in a beat", { steps_per_beat: 0 }],
  ["repeats that are no answer", { repeats: "yes" }],
  ["a given voice without a name", { given: { melody: 1 } }],
  ["a given voice without a condition", { given: { tune: "soprano" } }],
])("music with %s is refused", (_, changes) => {
  expect(() => checkManifest(notes(changes), "sampler.onnx")).toThrow(/sampler.onnx is damaged: data/);
});

test("a sequence of steps is a condition of music only", () => {
  expect(() => checkManifest({ ...raw(), conditions: [{ name: "melody", kind: "sequence", size: 32 }] }, "x.onnx")).toThrow(FileError);
});

const golden = () => raw().golden;
test("an error is judged by what the output is a sum of", () => {
  const of = (magnitudes?: Record<string, number>) =>
    checkManifest({ ...raw(), golden: { ...golden(), score: [0.09, -0.05], magnitudes } }, "scorer.onnx").golden;
  const made = Float32Array.of(0.09, -0.05 + 1.43e-5);
  expect(errorOf(of({ score: 140 }), "score", made)).toBeCloseTo(1.43e-5 / 140, 9);
  expect(errorOf(of(), "score", made)).toBeCloseTo(1.43e-5, 7);
  expect(errorOf(of({ score: 140 }), "score", Float32Array.of(0.09, 0.05))).toBeGreaterThan(7e-4);
  expect(errorOf(of(), "x", made)).toBeNull();
});

const COLUMNS = {
  age: { kind: "numeric", bounds: [17, 90], integer: true, unit: "years", port: "age" },
  "calls a day": { kind: "count", most: 12, port: "calls_a_day" },
  job: { kind: "category", names: ["nurse", "a, b"], port: "job" },
};

/** A model of a table of these columns. */
function table(columns: Record<string, unknown>) {
  return { ...raw(), conditions: [], data_shape: [3], data: { kind: "table", columns }, golden: { ...raw().golden, conditions: {}, age: [18, null], x: undefined } };
}

test("rows of a table are known by their columns", () => {
  const { table: found, golden } = checkManifest(table(COLUMNS), "sampler.onnx");
  expect(found!.columns.map(({ name, port, low, high, whole, unit }) => [name, port, low, high, whole, unit])).toEqual([
    ["age", "age", 17, 90, true, "years"],
    ["calls a day", "calls_a_day", 0, 12, true, ""],
    ["job", "job", 0, 1, false, ""],
  ]);
  expect(golden.values.age![1]).toBeNaN();
});

test.each([
  ["none", {}],
  ["one without a port", { age: { ...COLUMNS.age, port: undefined } }],
  ["a port that is no name", { age: { ...COLUMNS.age, port: "a b" } }],
  ["two of one port", { ...COLUMNS, hours: COLUMNS.age }],
  ["bounds from high to low", { age: { ...COLUMNS.age, bounds: [9, 1] } }],
  ["names that are no text", { job: { ...COLUMNS.job, names: ["nurse", 3] } }],
])("a table with columns of which %s is refused", (_, columns) => {
  expect(() => checkManifest(table(columns), "sampler.onnx")).toThrow(/damaged: data/);
});

test("a file of rows says commas and quotes as they are", () => {
  const { columns } = checkManifest(table(COLUMNS), "sampler.onnx").table!;
  expect(csvOf(columns, [[18, NaN], [3, 4], [1, 0]], 2)).toBe('age,calls a day,job\n18,3,"a, b"\n,4,nurse\n');
});

test("a number has its range, its unit and unknown", () => {
  const given = { ...angle, range: [[-60, 60]], unit: "degrees", unknown: true };
  const golden = { ...raw().golden, conditions: { angle: [[3], [null]] } };
  const manifest = checkManifest({ ...raw(), conditions: [given], golden }, "x");
  expect(manifest.conditions).toEqual([
    { name: "angle", kind: "continuous", size: 1, names: [], ranges: [[-60, 60]], unit: "degrees", unknown: true },
  ]);
  expect(manifest.golden.values.angle).toEqual(Float64Array.of(3, NaN));
  expect(defaultChoice(manifest)).toEqual({ angle: [0] });
  expect(defaultChoice({ ...manifest, conditions: [{ ...manifest.conditions[0]!, ranges: [[10, 30]] }] })).toEqual({ angle: [20] });
  expect([rounded(12.3456, [-60, 60]), rounded(59.99, [-60, 59.9]), rounded(0.12345, [0, 1])]).toEqual([12, 59.9, 0.12]);
});

test.each<[string, (manifest: Record<string, any>) => unknown]>([
  ["no object", () => []],
  ["null", () => null],
  ["no schema", (m) => ({ ...m, schema: "1" })],
  ["an unknown graph", (m) => ({ ...m, graph: "painter" })],
  ["a huge latent code", (m) => ({ ...m, latent_dim: 1e9 })],
  ["a broken latent code", (m) => ({ ...m, latent_dim: 2.5 })],
  ["a huge picture", (m) => ({ ...m, data_shape: [100000, 100000, 3] })],
  ["a flat shape", (m) => ({ ...m, data_shape: [784] })],
  ["four channels", (m) => ({ ...m, data_shape: [4, 4, 4] })],
  ["a range from high to low", (m) => ({ ...m, data_range: [1, 0] })],
  ["a range of pictures from high to low", (m) => ({ ...m, range: [1, 0] })],
  ["a range of three numbers", (m) => ({ ...m, range: [0, 1, 2] })],
  ["too few names", (m) => ({ ...m, conditions: [{ name: "label", kind: "categorical", size: 3, names: ["a"] }] })],
  ["names that are no text", (m) => ({ ...m, conditions: [{ name: "label", kind: "categorical", size: 1, names: [{}] }] })],
  ["too few tags", (m) => ({ ...m, conditions: [{ name: "tags", kind: "multi_label", size: 3, names: ["a"] }] })],
  ["more classes than names", (m) => ({ ...m, conditions: [{ ...m.conditions[0], num_leaves: 4 }] })],
  ["a condition called z", (m) => ({ ...m, conditions: [{ name: "z", kind: "continuous", size: 1 }] })],
  ["a range of no width", (m) => ({ ...m, conditions: [{ ...angle, range: [[5, 5]] }] })],
  ["a range that is no pair", (m) => ({ ...m, conditions: [{ ...angle, range: [[1, 2, 3]] }] })],
  ["a range of another size", (m) => ({ ...m, conditions: [{ ...angle, range: [[1, 2], [1, 2]] }] })],
  ["a thousand conditions", (m) => ({ ...m, conditions: Array(1000).fill(m.conditions[0]) })],
  ["no golden sample", (m) => ({ ...m, golden: null })],
  ["a wide tolerance", (m) => ({ ...m, golden: { ...golden(), tolerance: 0.5 } })],
  ["a negative tolerance", (m) => ({ ...m, golden: { ...golden(), tolerance: -1e-5 } })],
  ["a negative seed", (m) => ({ ...m, golden: { ...golden(), seed: -1 } })],
  ["text among the golden values", (m) => ({ ...m, golden: { ...golden(), z: [["a", "b"], [0, 0]] } })],
  ["magnitudes that are no numbers", (m) => ({ ...m, golden: { ...golden(), magnitudes: { x: "2" } } })],
  ["magnitudes below 0", (m) => ({ ...m, golden: { ...golden(), magnitudes: { x: -2 } } })],
  ["rows that do not match", (m) => ({ ...m, golden: { ...golden(), z: [[0, 0]] } })],
  ["a map of another size", (m) => ({ ...m, map: { origin: [0], x: [1], y: [1] } })],
  ["scores that fall", (m) => ({ ...m, scores: Array.from({ length: 101 }, (_, i) => -i) })],
  ["too few scores", (m) => ({ ...m, scores: [1, 2, 3] })],
])("%s is refused", (_, change) => {
  expect(() => checkManifest(change(raw()), "decoder.onnx")).toThrow(FileError);
});
