// LiteRT.js, its wasm, in Node: node litert.js FOLDER
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import vm from "node:vm";

import { answer } from "./requests.js";

// LiteRT.js 2.5.3 is made for a page or a worker: it loads its wasm by a script tag or by
// importScripts. The script itself knows Node, where it asks for what a CommonJS module has.
const wasm = fileURLToPath(new URL("node_modules/@litertjs/core/wasm/", import.meta.url));
Object.assign(globalThis, {
  self: globalThis,
  require: createRequire(import.meta.url),
  __dirname: wasm,
  __filename: path.join(wasm, "litert_wasm_internal.js"),
  importScripts: (file) => vm.runInThisContext(fs.readFileSync(file, "utf8"), file),
  GPUBuffer: class {},
});
// It warns that Node has no WebGPU; the wasm needs none.
console.warn = () => {};
const { Tensor, loadAndCompile, loadLiteRt } = await import("@litertjs/core");

const folder = process.argv[2];
await loadLiteRt(wasm);
const model = await loadAndCompile(new Uint8Array(fs.readFileSync(`${folder}/sampler.tflite`)), {
  accelerator: "wasm",
});
await answer(
  folder,
  "litert.js",
  (rows) => `sampler_${rows}` in model.signatures,
  async (inputs, rows, shapes) => {
    const tensors = {};
    for (const [name, values] of Object.entries(inputs)) {
      tensors[name] = new Tensor(values, shapes[name]);
    }
    const outputs = await model.run(`sampler_${rows}`, tensors);
    const copies = {};
    for (const name of ["x", "z"]) copies[name] = Float32Array.from(outputs[name].toTypedArray());
    for (const tensor of [...Object.values(tensors), ...Object.values(outputs)]) tensor.delete();
    return copies;
  },
);
