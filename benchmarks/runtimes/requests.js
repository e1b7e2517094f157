// What both runtimes of JavaScript share: the requests, as the Python driver wrote them, and where
// their outputs go.
import fs from "node:fs";

// Run every request and write the outputs `x` and `z`, each in one file of float32.
// `run` takes an object of named arrays, how many rows they have, and an object of their shapes, and
// returns one of Float32Array (copies).
export async function answer(folder, name, accepts, run) {
  const { dtypes, sides = {}, requests } = JSON.parse(fs.readFileSync(`${folder}/requests.json`, "utf8"));
  const files = ["x", "z"].map((output) => [output, fs.openSync(`${folder}/${name}.${output}`, "w")]);
  for (const request of requests) {
    const inputs = {};
    const shapes = {};
    for (const [input, values] of Object.entries(request)) {
      inputs[input] = dtypes[input] === "int32" ? Int32Array.from(values) : Float32Array.from(values);
      const side = sides[input] ?? 1;
      shapes[input] = side === 1 ? [values.length] : [values.length / side, side];
    }
    const rows = Math.max(...Object.values(shapes).map(([count]) => count));
    if (!accepts(rows)) continue;
    const outputs = await run(inputs, rows, shapes);
    for (const [output, file] of files) fs.writeSync(file, outputs[output]);
  }
  for (const [, file] of files) fs.closeSync(file);
}
