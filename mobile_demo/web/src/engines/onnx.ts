// ONNX Runtime Web on one thread: more gain nothing at this size, and need special headers.

import * as ort from "onnxruntime-web/wasm";
import wasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";

import type { Engine, Tensors, Values } from "./engine";
import { inputsOf } from "./engine";

let starting: Promise<unknown> | null = null;
/** The run before: while one is under way, the runtime takes no other. */
let before: Promise<unknown> = Promise.resolve();

export async function load(): Promise<Engine> {
  ort.env.wasm.wasmPaths = { wasm: new URL(wasm, document.baseURI).href };
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "fatal";
  // Its wasm comes with the first session: let it be there by then.
  starting ??= ort.InferenceSession.create(new Uint8Array()).catch(() => undefined);
  return {
    format: "onnx",
    name: "ONNX Runtime Web",
    async load(file, manifest) {
      const session = await ort.InferenceSession.create(file, {
        executionProviders: ["wasm"],
        logSeverityLevel: 4,
      });
      const ports = inputsOf(manifest);
      async function run(inputs: Tensors, rows: number): Promise<Tensors<Float32Array>> {
        const feeds: Record<string, ort.Tensor> = {};
        for (const { name, shape, batched } of ports) {
          const values = inputs[name]!;
          const kind = values instanceof Int32Array ? "int32" : "float32";
          feeds[name] = new ort.Tensor(kind, values, [batched ? rows : 1, ...shape]);
        }
        const made = await session.run(feeds);
        const outputs: Tensors<Float32Array> = {};
        for (const [name, tensor] of Object.entries(made)) {
          outputs[name] = new Float32Array(tensor.data as Values);
          tensor.dispose();
        }
        return outputs;
      }
      return {
        run(inputs, rows) {
          const running = before.then(() => run(inputs, rows));
          before = running.catch(() => undefined);
          return running;
        },
        dispose: () => session.release(),
      };
    },
  };
}
