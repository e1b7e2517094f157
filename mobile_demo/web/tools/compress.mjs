// Write a .br and a .gz beside every file that gets smaller: node compress.mjs dist
// The runtimes' wasm takes most of a minute, so what was made once is kept by its hash.
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import zlib from "node:zlib";

const folder = process.argv[2] ?? "dist";
const kept = path.join(import.meta.dirname, "../node_modules/.cache/compressed");
fs.mkdirSync(kept, { recursive: true });

const brotli = (content) =>
  zlib.brotliCompressSync(content, {
    params: {
      // 10 and 11 save another tenth and take ten times as long.
      [zlib.constants.BROTLI_PARAM_QUALITY]: 9,
      [zlib.constants.BROTLI_PARAM_LGWIN]: 24,
      [zlib.constants.BROTLI_PARAM_SIZE_HINT]: content.length,
    },
  });
const gzip = (content) => zlib.gzipSync(content, { level: 9 });

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
