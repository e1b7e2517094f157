// What the page asks of a runtime, and the inputs and outputs of graphs.

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
