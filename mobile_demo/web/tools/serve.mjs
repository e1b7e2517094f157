// A static server with the right types, compressed files and cache headers:
//   node serve.mjs dist [--port 4173] [--host 127.0.0.1] [--cert cert.pem --key key.pem]
// Browsers install a page, and keep it offline, from https or from localhost only.
import fs from "node:fs";
import http from "node:http";
import https from "node:https";
import path from "node:path";
import { parseArgs } from "node:util";
import { fileURLToPath } from "node:url";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".webmanifest": "application/manifest+json",
  ".wasm": "application/wasm",
  ".png": "image/png",
  ".svg": "image/svg+xml",
};
const FIXED = /^(assets|models)\//;

/**
 * @param {string} folder
 * @param {(request: {path: string, bytes: number, status: number, method: string}) => void} [log]
 */
export function handler(folder, log = () => {}) {
  const root = path.resolve(folder);
  return (request, response) => {
    let name = "";
    try {
      name = decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname).slice(1);
    } catch {
      name = "\0";
    }
    const file = path.join(root, name || "index.html");
    const send = (status, headers = {}, body = undefined) => {
      response.writeHead(status, { "X-Content-Type-Options": "nosniff", ...headers });
      response.end(request.method === "HEAD" ? undefined : body);
      log({ path: name, bytes: body?.length ?? 0, status, method: request.method ?? "" });
    };
    if (request.method !== "GET" && request.method !== "HEAD") return send(405);
    const isInside = file.startsWith(root + path.sep) && !name.includes("\0");
    if (!isInside || !fs.existsSync(file) || !fs.statSync(file).isFile()) return send(404, {}, Buffer.from("not found"));

    const accepted = String(request.headers["accept-encoding"] ?? "");
    const encoding = [["br", "br"], ["gzip", "gz"]].find(([e, ending]) => accepted.includes(e) && fs.existsSync(`${file}.${ending}`));
    const chosen = encoding ? `${file}.${encoding[1]}` : file;
    const { size, mtimeMs } = fs.statSync(chosen);
    const etag = `"${size.toString(36)}-${Math.round(mtimeMs).toString(36)}"`;
    const headers = {
      "Content-Type": TYPES[path.extname(file)] ?? "application/octet-stream",
      "Cache-Control": FIXED.test(name) ? "public, max-age=31536000, immutable" : "no-cache",
      ETag: etag,
      Vary: "Accept-Encoding",
      ...(encoding ? { "Content-Encoding": encoding[0] } : {}),
    };
    if (request.headers["if-none-match"] === etag) return send(304, headers);
    const body = fs.readFileSync(chosen);
    send(200, { ...headers, "Content-Length": body.length }, body);
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      port: { type: "string", default: "4173" },
      host: { type: "string", default: "127.0.0.1" },
      cert: { type: "string" },
      key: { type: "string" },
    },
  });
  const folder = positionals[0] ?? "dist";
  if (!fs.existsSync(path.join(folder, "index.html"))) {
    console.error(`error: ${folder} holds no page; run: npm run build`);
    process.exit(2);
  }
  const secure = values.cert && values.key;
  const server = secure
    ? https.createServer({ cert: fs.readFileSync(values.cert), key: fs.readFileSync(values.key) }, handler(folder))
    : http.createServer(handler(folder));
  server.on("error", (err) => {
    console.error(`error: ${err.message}`);
    process.exit(1);
  });
  server.listen(Number(values.port), values.host, () => {
    console.log(`${secure ? "https" : "http"}://${values.host === "127.0.0.1" ? "localhost" : values.host}:${values.port}/`);
  });
}
