// LiteRT.js. It takes no batch of any size: the files carry the signatures NAME_1 and NAME_16, and
// rows to spare are filled up and thrown away. Its tensors live outside the garbage collector.

import { Tensor, loadAndCompile, loadLiteRt } from "@litertjs/core";
import script from "@litertjs/core/wasm/litert_wasm_internal.js?url";
import wasm from "@litertjs/core/wasm/litert_wasm_internal.wasm?url";
import compatibleScript from "@litertjs/core/wasm/litert_wasm_compat_internal.js?url";
import compatibleWasm from "@litertjs/core/wasm/litert_wasm_compat_internal.wasm?url";
import { supportsFeature } from "@litertjs/core";

import type { Engine, Runner, Tensors, Values } from "./engine";
import { inputsOf } from "./engine";
import type { Manifest } from "../manifest";

const BATCHES = [1, 16];

let loading: Promise<unknown> | null = null;

export async function load(): Promise<Engine> {
  // A second loadLiteRt() throws; a failed one may be tried again.
  loading ??= loadRuntime().catch((err: unknown) => {
    loading = null;
    throw err;
  });
  await loading;
  return { format: "tflite", name: "LiteRT.js", load: loadModel };
}

async function loadRuntime(): Promise<void> {
  const relaxed = await supportsFeature("relaxedSimd");
  const url = (path: string) => new URL(path, document.baseURI).href;
  // Its script would look for the wasm, under a name without a hash, only when it has come itself.
  const compiled = WebAssembly.compileStreaming(fetch(url(relaxed ? wasm : compatibleWasm)));
  const instantiateWasm = (imports: WebAssembly.Imports, done: (...made: [WebAssembly.Instance, WebAssembly.Module]) => void) =>
    void compiled
      .then(async (module) => done(await WebAssembly.instantiate(module, imports), module))
      .catch(() => undefined);
  Object.assign(globalThis, { Module: { instantiateWasm } });
  // It would ask for a GPU, which takes a tenth of a second and is not used.
  Object.defineProperty(navigator, "gpu", { value: undefined, configurable: true });
  try {
    await Promise.all([compiled, loadLiteRt(url(relaxed ? script : compatibleScript))]);
  } finally {
    Reflect.deleteProperty(navigator, "gpu");
  }
}

async function loadModel(file: Uint8Array, manifest: Manifest): Promise<Runner> {
  const model = await loadAndCompile(file, { accelerator: "wasm" });
  const ports = inputsOf(manifest);
  const batches = BATCHES.filter((size) => `${manifest.graph}_${size}` in model.signatures);
  const largest = batches.at(-1);
  const isAmong = (port: string) => ports.some(({ name }) => name === port);
  // What draws counts its rows from 0, unless it is told their index: those must stay together.
  const mayComeApart = !isAmong("seed") || isAmong("index");
  if (largest === undefined) {
    model.delete();
    throw new Error("It has no signature of a fixed batch size, which LiteRT.js needs.");
  }

  async function runBatch(inputs: Tensors, rows: number): Promise<Tensors<Float32Array>> {
    const tensors: Record<string, Tensor> = {};
    try {
      for (const { name, shape, batched } of ports) {
        tensors[name] = new Tensor(inputs[name]!, [batched ? rows : 1, ...shape]);
      }
      const made = await model.run(`${manifest.graph}_${rows}`, tensors);
      const outputs: Tensors<Float32Array> = {};
      for (const [name, tensor] of Object.entries(made)) {
        outputs[name] = new Float32Array(tensor.toTypedArray() as Values);
        tensor.delete();
      }
      return outputs;
    } finally {
      for (const tensor of Object.values(tensors)) tensor.delete();
    }
  }

  return {
    async run(inputs, rows) {
      const outputs: Tensors<Float32Array> = {};
      for (let first = 0; first < rows; ) {
        const size = batches.find((batch) => batch >= rows - first) ?? largest;
        const count = Math.min(size, rows - first);
        if (first > 0 && !mayComeApart) {
          throw new Error(`LiteRT.js draws at most ${largest} examples at once from this file.`);
        }
        const batch: Tensors = {};
        for (const { name, batched } of ports) {
          const values = inputs[name]!;
          batch[name] = batched ? part(values, values.length / rows, first, count, size) : values;
        }
        for (const [name, values] of Object.entries(await runBatch(batch, size))) {
          const row = values.length / size;
          outputs[name] ??= new Float32Array(rows * row);
          outputs[name].set(values.subarray(0, count * row), first * row);
        }
        first += count;
      }
      return outputs;
    },
    async dispose() {
      model.delete();
    },
  };
}

/** Some rows of a batch, filled up with zeros to another size. */
function part(values: Values, row: number, first: number, count: number, size: number): Values {
  const rows = values.subarray(first * row, (first + count) * row);
  if (count === size) return rows;
  const filled = values instanceof Int32Array ? new Int32Array(size * row) : new Float32Array(size * row);
  filled.set(rows);
  return filled;
}
