// Vite plugin: the model in the folder that MODELS names, and one in each folder in it, with a list
// of their files.

import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import type { Plugin } from "vite";

import type { Format, GraphName } from "../src/manifest";
import { FileError, GRAPHS, readManifest } from "../src/manifest";
import type { Bundle, ModelFile } from "../src/model";

const ROOT = path.resolve(import.meta.dirname, "../../..");
const NAME = /^(decoder|encoder|sampler|scorer)(?:\.(float16|int8|exact))?\.(tflite|onnx)$/;

export function models(folder: string): Plugin {
  return {
    name: "models",
    configureServer(server) {
      const { bundles, contents } = readAll(folder);
      server.middlewares.use((request, response, next) => {
        const url = (request.url ?? "").split("?")[0]!.slice(1);
        if (url === "models.json") response.end(JSON.stringify(bundles));
        else if (contents.has(url)) response.end(contents.get(url));
        else next();
      });
    },
    generateBundle() {
      const { bundles, contents } = readAll(folder);
      const source = `${JSON.stringify(bundles, null, 1)}\n`;
      this.emitFile({ type: "asset", fileName: "models.json", source });
      for (const [fileName, content] of contents) this.emitFile({ type: "asset", fileName, source: content });
      const files = bundles.flatMap((bundle) => bundle.files);
      const kilobytes = Math.round(files.reduce((sum, file) => sum + file.bytes, 0) / 1000);
      this.info(`${files.length} models, ${kilobytes} kB, from ${path.basename(folder)}`);
    },
  };
}

/** Every model in a folder, and the contents of their files by address. */
export function readAll(folder: string): { bundles: Bundle[]; contents: Map<string, Buffer> } {
  const entries = fs.existsSync(folder) ? fs.readdirSync(folder, { withFileTypes: true }) : [];
  const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => path.join(folder, name));
  const contents = new Map<string, Buffer>();
  const bundles = [folder, ...folders.sort()].flatMap((one) => read(one, contents) ?? []);
  if (bundles.length === 0) {
    throw new Error(
      `${path.basename(folder)} holds no decoder.tflite or decoder.onnx. Export a model into a folder, and name it: ` +
        "MODELS=folder npm run build",
    );
  }
  return { bundles, contents };
}

/** The model of a folder; its files are added to `contents`. */
function read(folder: string, contents: Map<string, Buffer>): Bundle | null {
  const names = fs.existsSync(folder) ? fs.readdirSync(folder).filter((name) => NAME.test(name)).sort() : [];
  if (!names.some((name) => /^(decoder|sampler|scorer)\./.test(name))) return null;
  const found = new Map<string, Buffer>();
  const files = names.map((name): ModelFile => {
    const [, graph, precision = "none", format] = NAME.exec(name)!;
    const content = fs.readFileSync(path.join(folder, name));
    const sha256 = createHash("sha256").update(content).digest("hex");
    // The name changes with the content, so that it can be kept for ever.
    const url = `models/${name.replace(/\.(\w+)$/, `-${sha256.slice(0, 10)}.$1`)}`;
    found.set(url, content);
    return { name, graph: graph as GraphName, format: format as Format, precision, bytes: content.length, sha256, url };
  });
  const { id, music, table, series, codebook } = identity(files, found);
  // A scorer alone says nothing of a picture or a row that the page could show.
  if (!series && !names.some((name) => /^(decoder|sampler)\./.test(name))) return null;
  // Music is not read back in: its encoder and its scorer would be kept by every device for nothing.
  // Rows are drawn and scored. Codes of a codebook are drawn by the sampler alone, which decodes them.
  const wanted = series ? ["scorer"] : codebook ? ["sampler"] : music ? ["decoder", "sampler"] : table ? ["sampler", "scorer"] : [...GRAPHS];
  const used = files.filter(({ graph }) => wanted.includes(graph));
  if (used.length === 0) {
    throw new Error(`${path.basename(folder)} holds a model with a codebook, which the page draws by its sampler: python -m export --graph sampler`);
  }
  for (const { url } of used) contents.set(url, found.get(url)!);
  return { id, music, ...(table ? { table } : {}), ...(series ? { series } : {}), folder: folderName(folder), files: used };
}

/** A folder of the project by its path from the root; nothing of another, which is nobody's business. */
export function folderName(folder: string): string | undefined {
  const name = path.relative(ROOT, folder).split(path.sep).join("/");
  return name.startsWith("..") || path.isAbsolute(name) ? undefined : name;
}

interface Identity {
  id: string;
  music: boolean;
  table: boolean;
  series: boolean;
  /** Whether its codes are those of a codebook. */
  codebook: boolean;
}

/** What links call the model, the same for its files of every format and precision, and its kind. */
function identity(files: ModelFile[], contents: Map<string, Buffer>): Identity {
  for (const { graph, url, name } of files) {
    if (graph === "encoder") continue;
    try {
      const { golden, latentDim, dataShape, model, notes, table, series } = readManifest(contents.get(url)!, name);
      // Of the golden sample two decimals: they are the same in every float32 runtime.
      const rounded = series ? series : table ? table.columns : Array.from(golden.values.x ?? [], (value) => value.toFixed(2));
      const text = JSON.stringify([model, latentDim, dataShape, rounded]);
      return { id: createHash("sha256").update(text).digest("hex").slice(0, 8), music: notes !== null, table: table !== null, series: series !== null, codebook: golden.values.codes !== undefined };
    } catch (err) {
      // The page says what is wrong with the file.
      if (!(err instanceof FileError)) throw err;
    }
  }
  return { id: "unknown", music: false, table: false, series: false, codebook: false };
}
