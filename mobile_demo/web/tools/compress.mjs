// Write a .br and a .gz beside every file that gets smaller: node compress.mjs dist
// The runtimes' wasm takes most of a minute, so what was made once is kept by its hash. EFFORT=low, for
// a page that is built to be tested, takes seconds and makes larger files.
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import zlib from "node:zlib";

const folder = process.argv[2] ?? "dist";
// 10 and 11 save another tenth and take ten times as long.
const [quality, level] = process.env.EFFORT === "low" ? [2, 1] : [9, 9];
const kept = path.join(import.meta.dirname, `../node_modules/.cache/compressed-${quality}`);
fs.mkdirSync(kept, { recursive: true });

const brotli = (content) =>
  zlib.brotliCompressSync(content, {
    params: {
      [zlib.constants.BROTLI_PARAM_QUALITY]: quality,
      [zlib.constants.BROTLI_PARAM_LGWIN]: 24,
      [zlib.constants.BROTLI_PARAM_SIZE_HINT]: content.length,
    },
  });
const gzip = (content) => zlib.gzipSync(content, { level });

for (const name of fs.readdirSync(folder, { recursive: true })) {
  const file = path.join(folder, name);
  if (!fs.statSync(file).isFile() || /\.(br|gz|png)$/.test(name)) continue;
  const content = fs.readFileSync(file);
  const hash = createHash("sha256").update(content).digest("hex").slice(0, 32);
  for (const [ending, compress] of [["br", brotli], ["gz", gzip]]) {
    const before = path.join(kept, `${hash}.${ending}`);
    if (!fs.existsSync(before)) {
      fs.writeFileSync(`${before}.part`, compress(content));
      fs.renameSync(`${before}.part`, before);
    }
    if (fs.statSync(before).size < 0.95 * content.length) fs.copyFileSync(before, `${file}.${ending}`);
  }
}
