// The figures of the built page, as JSON: npm run build && npm run figures
// Of one part alone: npm run figures pictures, npm run figures music
// Headless Chromium, one thread, a fresh profile for every visit; medians.
import { DIST, PHONE, SEVEN, choose, drawStroke, launch, ready, startServer } from "./browser.mjs";
import { musicFigures } from "./music_figures.mjs";
import fs from "node:fs";
import path from "node:path";

const VISITS = 5;
const DRAWINGS = 20;
const RUNS = 200;
const SETTLE_MS = 1500;
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
/** A tab whose browser has finished starting: a new one keeps both cores busy with its own pages. */
const newTab = async (context) => {
  const page = await context.newPage();
  await page.waitForTimeout(SETTLE_MS);
  return page;
};
const round = (value, digits = 3) => Number(value.toFixed(digits));

if (!fs.existsSync(path.join(DIST, "index.html"))) {
  console.error("error: there is no page yet; run: npm run build");
  process.exit(2);
}
const part = process.argv[2];
const bundles = JSON.parse(fs.readFileSync(path.join(DIST, "models.json"), "utf8"));
const there = (music) => bundles.some((bundle) => bundle.music === music) && part !== (music ? "pictures" : "music");
const browser = await launch(["--autoplay-policy=user-gesture-required"]);
const server = await startServer();
const figures = { browser: browser.version() };

const firstImage = async (page) => {
  await page.waitForFunction(() => performance.getEntriesByName("first image").length > 0);
  return page.evaluate(() => performance.getEntriesByName("first image")[0].startTime);
};

for (const runtime of there(false) ? ["tflite", "onnx"] : []) {
  const [cold, offline] = [[], []];
  let [bytes, requests, twice] = [0, 0, []];
  for (let visit = 0; visit < VISITS; visit++) {
    const context = await browser.newContext(PHONE);
    await context.addInitScript((value) => localStorage.setItem("runtime and precision", `${value} none`), runtime);
    server.requests.length = 0;
    const page = await newTab(context);
    await page.goto(server.url);
    cold.push(await firstImage(page));
    await page.waitForSelector('body[data-kept="kept"]', { timeout: 60_000 });
    const fetched = server.requests.filter(({ method, status }) => method === "GET" && status === 200);
    bytes = server.requests.reduce((sum, request) => sum + request.bytes, 0);
    requests = server.requests.length;
    const paths = fetched.map((request) => request.path);
    twice = paths.filter((name, i) => paths.indexOf(name) !== i);
    await page.close();
    await server.stop();
    const again = await newTab(context);
    await again.goto(server.url);
    offline.push(await firstImage(again));
    await server.start();
    await context.close();
  }

  const context = await browser.newContext({ ...PHONE, reducedMotion: "reduce" });
  const page = await context.newPage();
  await page.goto(server.url);
  await ready(page);
  await choose(page, runtime);
  await page.waitForSelector('body[data-kept="kept"]', { timeout: 60_000 });
  const drawn = [];
  for (let i = 0; i < DRAWINGS; i++) {
    await page.getByRole("button", { name: "Clear" }).first().click();
    await page.evaluate(() => performance.clearMeasures());
    await drawStroke(page, SEVEN);
    await page.waitForFunction(() => performance.getEntriesByName("drawing to images").length > 0);
    drawn.push(await page.evaluate(() => performance.getEntriesByName("drawing to images").at(-1).duration));
  }
  await page.locator("#tab-sample").click();
  await page.waitForTimeout(500);
  const image = {};
  const parity = {};
  for (const precision of ["none", "int8"]) {
    const offered = await page.locator(`#facts [data-value="${precision}"]:not([disabled])`).count();
    if (!offered) continue;
    await choose(page, runtime, precision);
    await page.waitForSelector('body[data-kept="kept"]', { timeout: 60_000 });
    await page.waitForTimeout(500);
    image[precision] = round(await page.evaluate((runs) => globalThis.pocket.measure(runs), RUNS));
    parity[precision] = await page.evaluate(async () => {
      const { model } = globalThis.pocket.running;
      const errors = {};
      for (const { graph } of model.files) {
        const { error, sameCodes, passed } = await (await model.graph(graph)).selfTest();
        errors[graph] = { error: Number(error.toExponential(2)), passed, ...(sameCodes === null ? {} : { sameCodes }) };
      }
      return errors;
    });
  }
  await context.close();
  figures[runtime] = {
    "first visit, bytes sent compressed": bytes,
    "first visit, requests": requests,
    "fetched twice": twice,
    "first image, cold, s": round(median(cold) / 1000),
    "first image, second visit offline, s": round(median(offline) / 1000),
    [`ms an image, median of ${RUNS}`]: image,
    "drawing finished to images shown, ms": { median: round(median(drawn), 1), largest: round(Math.max(...drawn), 1) },
    "self-test": parity,
  };
}
if (there(true)) figures.music = await musicFigures(browser, server);
await browser.close();
await server.stop();
console.log(JSON.stringify(figures, null, 2));
