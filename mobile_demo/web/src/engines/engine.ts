// What the page asks of a runtime. One runtime is loaded at a time, and only when it is chosen.

import type { Condition, Format, GraphName, Manifest } from "../manifest";

export type Values = Float32Array | Int32Array;
/** Inputs or outputs by name: the rows of a batch one after the other. */
export type Tensors<T = Values> = Record<string, T>;

export interface Engine {
  readonly format: Format;
  readonly name: string;
  load(file: Uint8Array, manifest: Manifest): Promise<Runner>;
}

export interface Runner {
  /** Run some rows; `inputs` holds exactly the graph's inputs. The outputs are copies. */
  run(inputs: Tensors, rows: number): Promise<Tensors<Float32Array>>;
  dispose(): Promise<void>;
}

export async function loadEngine(format: Format): Promise<Engine> {
  if (!hasSimd()) {
    throw new Error(
      "This browser has no WebAssembly SIMD, which both runtimes need. A browser from 2023 or later has it.",
    );
  }
  const { load } = format === "tflite" ? await import("./litert") : await import("./onnx");
  return load();
}

/** Both runtimes are compiled with 128-bit vectors: ask by a module of three instructions. */
function hasSimd(): boolean {
  const module = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];
  return typeof WebAssembly === "object" && WebAssembly.validate(new Uint8Array(module));
}

interface Port {
  name: string;
  /** Shape of one row. */
  shape: number[];
  /** Whether there is one row for each example, or one for all. */
  batched: boolean;
}

/** A graph's inputs: their order does not matter, they are bound by name. */
export function inputsOf(manifest: Manifest): Port[] {
  const conditions = manifest.conditions.map((condition) => port(condition.name, rowShape(condition)));
  const data = port("x", manifest.dataShape);
  if (manifest.graph === "decoder") return [port("z", [manifest.latentDim]), ...conditions];
  if (manifest.graph !== "sampler") return [data, ...conditions];
  const batch = conditions.length ? conditions : [port("index", [])];
  return [...batch, port("seed", [], false), port("temperature", [], false)];
}

/** How many numbers a row of each output has. */
export function outputsOf(manifest: Manifest): Record<string, number> {
  const pixels = manifest.dataShape.reduce((product, n) => product * n, 1);
  const made: Record<GraphName, Record<string, number>> = {
    decoder: { x: pixels },
    // A code that is no distribution is called z; the file says which it has.
    encoder: "z" in manifest.golden.values ? { z: manifest.latentDim } : { z_mean: manifest.latentDim },
    sampler: { x: pixels, z: manifest.latentDim },
    scorer: { score: 1, x_reconstructed: pixels },
  };
  return made[manifest.graph];
}

function rowShape(condition: Condition): number[] {
  return condition.kind === "categorical" ? [] : [condition.size];
}

function port(name: string, shape: number[], batched = true): Port {
  return { name, shape, batched };
}
