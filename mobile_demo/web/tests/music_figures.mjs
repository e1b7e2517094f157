// The figures of the Music view: how long from a tap to ten harmonisations, and to the first sound.
import { PHONE, choose, ready } from "./browser.mjs";

const VISITS = 5;
const TAPS = 20;
const RUNS = 20;
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const spread = (values) => ({ median: Number(median(values).toFixed(1)), largest: Number(Math.max(...values).toFixed(1)) });

/** Milliseconds from the first tap of a visit to when its note leaves the device. */
async function firstSound(browser, server) {
  const context = await browser.newContext(PHONE);
  const page = await context.newPage();
  // Nothing is asked of the page before the tap: a question counts as a tap, and wakes the sound.
  await page.goto(`${server.url}#view=music`);
  await page.waitForTimeout(6000);
  await page.touchscreen.tap(200, 130);
  await page.waitForTimeout(1500);
  const [sound] = await page.evaluate(() => performance.getEntriesByName("tap to sound").map(({ duration }) => duration));
  await context.close();
  if (sound === undefined) throw new Error("No sound came of the first tap.");
  return sound;
}

export async function musicFigures(browser, server) {
  const figures = {};
  for (const runtime of ["tflite", "onnx"]) {
    const context = await browser.newContext(PHONE);
    const page = await context.newPage();
    await page.goto(`${server.url}#view=music`);
    await ready(page);
    await choose(page, runtime, await page.evaluate(() => document.body.dataset.precision));
    await page.waitForSelector('body[data-kept="kept"]', { timeout: 60_000 });
    await page.locator(".roll").scrollIntoViewIfNeeded();
    const box = await page.locator(".roll canvas").boundingBox();
    const taps = [];
    for (let i = 0; i < TAPS; i++) {
      await page.evaluate(() => performance.clearMeasures("drawing to images"));
      await page.touchscreen.tap(box.x + box.width * (0.06 + 0.125 * (i % 8)), box.y + box.height * (0.1 + 0.02 * (i % 7)));
      await page.waitForFunction(() => performance.getEntriesByName("drawing to images").length > 0);
      taps.push(await page.evaluate(() => performance.getEntriesByName("drawing to images").at(-1).duration));
    }
    const model = await page.evaluate(async (runs) => {
      const { model } = globalThis.pocket.running;
      const { conditions } = model.manifest;
      const row = Object.fromEntries(conditions.map(({ name, kind, size }) => [name, kind === "categorical" ? 0 : Array(size).fill(0)]));
      const times = {};
      for (const rows of model.has("sampler") ? [1, 10, 16] : []) {
        times[rows] = [];
        for (let i = 0; i < runs; i++) {
          const start = performance.now();
          await model.draw(Array(rows).fill(row), { seed: i, temperature: 1, tokenTemperature: 0.7 });
          times[rows].push(performance.now() - start);
        }
      }
      return times;
    }, RUNS);
    await context.close();
    figures[runtime] = {
      "tap to ten harmonisations shown, ms": spread(taps),
      "ms in the sampler, by rows": Object.fromEntries(Object.entries(model).map(([rows, times]) => [rows, spread(times)])),
    };
  }
  const sounds = [];
  for (let visit = 0; visit < VISITS; visit++) sounds.push(await firstSound(browser, server));
  figures["first tap to first sound, ms"] = spread(sounds);
  return figures;
}
