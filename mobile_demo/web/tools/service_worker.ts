// Vite plugin: fill in what the service worker must keep, and a version that changes with it.

import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import type { Plugin } from "vite";

const TEMPLATE = path.resolve(import.meta.dirname, "../src/service_worker.js");
/** Files of which a device needs only some: it keeps those that it has used. */
const OPTIONAL = /\.wasm$|^models\/|^assets\/(litert|onnx|ort)/;

export function serviceWorker(): Plugin {
  let out = "";
  return {
    name: "service-worker",
    configResolved(config) {
      out = path.resolve(config.root, config.build.outDir);
    },
    writeBundle() {
      const files = fs
        .readdirSync(out, { recursive: true, encoding: "utf8" })
        .map((name) => name.replaceAll(path.sep, "/"))
        .filter((name) => fs.statSync(path.join(out, name)).isFile() && !/\.(br|gz|map)$/.test(name) && name !== "sw.js")
        .sort();
      const app = files.filter((name) => !OPTIONAL.test(name));
      const version = createHash("sha256");
      for (const name of files) version.update(name).update(fs.readFileSync(path.join(out, name)));
      const filled = fs
        .readFileSync(TEMPLATE, "utf8")
        .replace("__VERSION__", version.digest("hex").slice(0, 12))
        .replace("__APP__", JSON.stringify(app.map((name) => (name === "index.html" ? "./" : name))))
        .replace("__OPTIONAL__", JSON.stringify(files.filter((name) => OPTIONAL.test(name))));
      fs.writeFileSync(path.join(out, "sw.js"), filled);
    },
  };
}
