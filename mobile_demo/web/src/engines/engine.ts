// What the page asks of a runtime, and the inputs and outputs of graphs.

import type { Column, Condition, Format, GraphName, Manifest } from "../manifest";

export type Values = Float32Array | Int32Array;
/** Inputs or outputs by name: the rows of a batch one after the other. */
export type Tensors<T = Values> = Record<string, T>;

export interface Engine {
  readonly format: Format;
  readonly name: string;
  load(file: Uint8Array, manifest: Manifest): Promise<Runner>;
}

export interface Runner {
  /** Run some rows; `inputs` holds at least the graph's inputs. The outputs are copies, as floats. */
  run(inputs: Tensors, rows: number): Promise<Tensors<Float32Array>>;
  dispose(): Promise<void>;
}

interface Port {
  name: string;
  /** Shape of one row. */
  shape: number[];
  kind: "int32" | "float32";
  /** Whether there is one row for each example, or one for all. */
  batched: boolean;
}

/** A graph's inputs: their order does not matter, they are bound by name. */
export function inputsOf(manifest: Manifest): Port[] {
  const { graph, notes, table, series, latentDim, dataShape } = manifest;
  const conditions = manifest.conditions.map((one) => port(one.name, rowShape(one), one.kind === "continuous" ? "float32" : "int32"));
  const seed = port("seed", [], "int32", false);
  const tokens = notes ? [port("token_temperature", [], "float32", false)] : [];
  if (graph === "decoder") return [port("z", [latentDim]), ...conditions, ...(notes ? [seed] : []), ...tokens];
  if (graph !== "sampler" && table) {
    return [...given(manifest).map(({ port: name, names }) => port(name, [], names.length ? "int32" : "float32")), ...conditions];
  }
  if (graph !== "sampler") return [port("x", dataShape, notes ? "int32" : "float32"), ...conditions];
  const index = port("index", [], "int32");
  const batch = table || series ? [index, ...conditions] : conditions.length ? conditions : [index];
  return [...batch, seed, port("temperature", [], "float32", false), ...tokens];
}

/** How many numbers a row of each output has. */
export function outputsOf(manifest: Manifest): Record<string, number> {
  if (manifest.table) {
    const ending = manifest.graph === "scorer" ? "_reconstructed" : "";
    const columns = Object.fromEntries(given(manifest).map(({ port: name }) => [`${name}${ending}`, 1]));
    const others: Record<GraphName, Record<string, number>> = {
      decoder: columns,
      encoder: { z_mean: manifest.latentDim },
      sampler: { ...columns, z: manifest.latentDim },
      scorer: { score: 1, ...columns },
    };
    return others[manifest.graph];
  }
  const pixels = manifest.dataShape.reduce((product, n) => product * n, 1);
  const { codes } = manifest.golden.values;
  const made: Record<GraphName, Record<string, number>> = {
    decoder: { x: pixels },
    // A code that is no distribution is called z; the file says which it has.
    encoder: "z" in manifest.golden.values ? { z: manifest.latentDim } : { z_mean: manifest.latentDim },
    // A model with a codebook draws the grid of its codes.
    sampler: codes ? { x: pixels, codes: codes.length / manifest.golden.rows } : { x: pixels, z: manifest.latentDim },
    scorer: { score: 1, x_reconstructed: pixels },
  };
  return made[manifest.graph];
}

/** The columns of a table that are no conditions. */
export function given(manifest: Manifest): Column[] {
  return manifest.table!.columns.filter(({ name }) => manifest.conditions.every((one) => one.name !== name));
}

function rowShape(condition: Condition): number[] {
  return condition.kind === "categorical" ? [] : [condition.size];
}

function port(name: string, shape: number[], kind: Port["kind"] = "float32", batched = true): Port {
  return { name, shape, kind, batched };
}
