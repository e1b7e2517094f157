// ONNX Runtime Web on one thread: more gain nothing at this size, and need special headers.

import * as ort from "onnxruntime-web/wasm";
import wasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";

import type { Engine, Tensors } from "./engine";
import { inputsOf } from "./engine";

export async function load(): Promise<Engine> {
  const url = new URL(wasm, document.baseURI).href;
  ort.env.wasm.wasmPaths = { wasm: url };
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "fatal";
  preload(url);
  return {
    format: "onnx",
    name: "ONNX Runtime Web",
    async load(file, manifest) {
      const session = await ort.InferenceSession.create(file, {
        executionProviders: ["wasm"],
        logSeverityLevel: 4,
      });
      const ports = inputsOf(manifest);
      return {
        async run(inputs, rows) {
          const feeds: Record<string, ort.Tensor> = {};
          for (const { name, shape, batched } of ports) {
            const values = inputs[name]!;
            const kind = values instanceof Int32Array ? "int32" : "float32";
            feeds[name] = new ort.Tensor(kind, values, [batched ? rows : 1, ...shape]);
          }
          const made = await session.run(feeds);
          const outputs: Tensors<Float32Array> = {};
          for (const [name, tensor] of Object.entries(made)) {
            outputs[name] = Float32Array.from(tensor.data as Float32Array);
            tensor.dispose();
          }
          return outputs;
        },
        dispose: () => session.release(),
      };
    },
  };
}

/** The runtime fetches its wasm with the first model: let it be there by then. */
function preload(href: string): void {
  if (document.querySelector(`link[href="${href}"]`)) return;
  const link = document.createElement("link");
  Object.assign(link, { rel: "preload", as: "fetch", crossOrigin: "anonymous", href });
  document.head.append(link);
}
