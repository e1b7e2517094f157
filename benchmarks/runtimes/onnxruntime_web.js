// ONNX Runtime Web, its wasm, in Node: node onnxruntime_web.js FOLDER
import fs from "node:fs";

import * as ort from "onnxruntime-web/wasm";

import { answer } from "./requests.js";

const folder = process.argv[2];
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(fs.readFileSync(`${folder}/sampler.onnx`), {
  executionProviders: ["wasm"],
});
await answer(
  folder,
  "onnxruntime-web",
  () => true,
  async (inputs, rows, shapes) => {
    const feeds = {};
    for (const [name, values] of Object.entries(inputs)) {
      const dtype = values instanceof Int32Array ? "int32" : "float32";
      feeds[name] = new ort.Tensor(dtype, values, shapes[name]);
    }
    const outputs = await session.run(feeds);
    return { x: Float32Array.from(outputs.x.data), z: outputs.z.data };
  },
);
