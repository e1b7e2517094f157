// The built page in a real browser: a server that can go away, and phones of any size.
import { createHash } from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { chromium } from "playwright-core";

import { handler } from "../tools/serve.mjs";

export const ROOT = path.resolve(import.meta.dirname, "..");
export const DIST = path.resolve(ROOT, process.env.OUT ?? "dist");
export const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };

/**
 * Of windows, and the colours that a person wants.
 * @type {[width: number, height: number, colorScheme: "light" | "dark"][]}
 */
export const SIZES = [[320, 568, "light"], [390, 844, "dark"], [844, 390, "light"], [768, 1024, "dark"], [1280, 800, "light"]];

/** A server that counts what it sends, and can be stopped and started on the same port. */
export async function startServer() {
  const requests = [];
  const answer = handler(DIST, (request) => requests.push(request));
  let server;
  let port = 0;
  const start = () =>
    new Promise((resolve, reject) => {
      server = http.createServer(answer);
      server.on("error", reject);
      server.listen(port, "127.0.0.1", () => {
        port = server.address().port;
        resolve();
      });
    });
  await start();
  return {
    requests,
    url: `http://127.0.0.1:${port}/`,
    start,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export function launch(args = []) {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  if (!fs.existsSync(executablePath)) {
    throw new Error("The tests need Chromium: apt-get install chromium, or name it in CHROMIUM.");
  }
  return chromium.launch({ executablePath, args: ["--no-sandbox", ...args] });
}

/** The files of a folder of models, as the build writes them; `graph.precision.format` by name. */
export function filesOf(folder, id) {
  return fs.readdirSync(folder).flatMap((name) => {
    const [, graph, precision = "none", format] = /^([a-z]+)(?:\.([\w-]+))?\.(onnx|tflite)$/.exec(name) ?? [];
    if (!graph) return [];
    const content = fs.readFileSync(path.join(folder, name));
    const sha256 = createHash("sha256").update(content).digest("hex");
    return [{ name, graph, format, precision, bytes: content.length, sha256, url: `models/${id}-${name}` }];
  });
}

/** Give a page the models of a folder in place of its own: `entry` as in the build's models.json. */
export async function serveModels(page, folder, entry) {
  await page.route("**/models.json", (route) => route.fulfill({ json: [entry] }));
  await page.route(`**/models/${entry.id}-*`, (route) => {
    const name = route.request().url().split(`/${entry.id}-`)[1];
    return route.fulfill({ body: fs.readFileSync(path.join(folder, name)) });
  });
}

/** Wait until the model is running, or has failed. */
export async function ready(page, wanted = {}) {
  const rest = Object.entries(wanted).map(([name, value]) => `[data-${name}="${value}"]`).join("");
  await page.waitForSelector(`body[data-state="ready"]${rest}`, { timeout: 30_000 });
}

/** Choose a runtime and a precision by the switches on the page. */
export async function choose(page, runtime, precision = "none") {
  // A click on its summary would close a sheet that is just being opened.
  await page.locator("#facts").evaluate((facts) => (facts.open = true));
  await page.locator(`#facts [data-value="${precision}"]`).click();
  await ready(page, { precision });
  await page.locator(`#facts [data-value="${runtime}"]`).click();
  await ready(page, { runtime, precision });
  await page.locator("#facts").evaluate((facts) => (facts.open = false));
}

/** Draw with a finger: points on a unit square. */
export async function drawStroke(page, points, selector = "section:not([hidden]) canvas.drawing") {
  const box = await page.locator(selector).boundingBox();
  const client = await page.context().newCDPSession(page);
  const touch = (type, point) =>
    client.send("Input.dispatchTouchEvent", {
      type,
      touchPoints: point ? [{ x: box.x + point[0] * box.width, y: box.y + point[1] * box.height }] : [],
    });
  await touch("touchStart", points[0]);
  for (const point of points.slice(1)) await touch("touchMove", point);
  await touch("touchEnd");
  await client.detach();
}

export const SEVEN = [
  ...Array.from({ length: 8 }, (_, i) => [0.25 + 0.06 * i, 0.25]),
  ...Array.from({ length: 10 }, (_, i) => [0.7 - 0.025 * i, 0.27 + 0.055 * i]),
];
