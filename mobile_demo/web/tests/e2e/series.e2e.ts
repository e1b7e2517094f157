// A scorer of a series: readings, which of their windows are unusual, and what makes them so.

import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

import { PHONE, ROOT, SIZES, filesOf, launch, ready, serveModels, startServer } from "../browser.mjs";

const SCREENSHOTS = path.join(ROOT, "screenshots");
const FOLDER = process.env.SERIES ?? path.join(ROOT, "tests", "fixtures", "series");
const READINGS = path.join(ROOT, "tests", "fixtures", "series", "readings.csv");
const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

const files = filesOf(FOLDER, "pump");

let browser: Browser;
let server: Awaited<ReturnType<typeof startServer>>;
let context: BrowserContext;
let errors: string[] = [];

beforeAll(async () => {
  fs.mkdirSync(SCREENSHOTS, { recursive: true });
  [browser, server] = await Promise.all([launch(), startServer()]);
});
afterAll(async () => {
  await browser.close();
  await server.stop();
});
afterEach(async () => {
  await context.close();
  expect(errors).toEqual([]);
});

async function opened(format: string, hash = "", options = {}): Promise<Page> {
  errors = [];
  context = await browser.newContext({ ...PHONE, serviceWorkers: "block", ...options });
  const page = await context.newPage();
  page.on("pageerror", (err) => errors.push(err.message));
  await serveModels(page, FOLDER, { id: "pump", music: false, series: true, files: files.filter((file) => file.format === format) });
  await page.goto(server.url + hash);
  await ready(page);
  return page;
}

const verdict = (page: Page) => page.locator("#view-sensor .verdict");

test("a bundle with a scorer alone opens on its signal", async () => {
  const page = await opened("onnx");
  expect(await page.evaluate(() => document.body.dataset.view)).toBe("sensor");
  await verdict(page).filter({ hasText: /\w/ }).waitFor();
  expect(await page.locator("#view-sensor .wish").textContent()).toBe("Choose or drop a CSV of flow, pressure, at least 24 readings.");
  await page.locator("[data-fact=proof]", { hasText: "✓" }).waitFor({ state: "attached" });
});

test("a fault is found where it is, the same in both runtimes, of the mode that is said", async () => {
  const told: Record<string, unknown> = {};
  for (const format of ["onnx", "tflite"]) {
    const page = await opened(format);
    await verdict(page).filter({ hasText: /\w/ }).waitFor();
    await page.locator("#view-sensor").getByLabel("mode").selectOption({ label: "busy" });
    await page.locator("#view-sensor input[type=file]").setInputFiles(READINGS);
    await page.locator("#view-sensor .status", { hasText: "70 windows" }).waitFor();
    const caption = (await page.locator("#view-sensor .status").last().textContent())!;
    const [, begins, worst] = /^Steps (\d+) to \d+: .* nats, p = .*, most of it in (\w+)$/.exec(caption)!;
    expect(Number(begins)).toBeGreaterThan(126);
    expect(Number(begins)).toBeLessThan(200);
    expect(worst).toBe("flow");
    told[format] = [await verdict(page).textContent(), begins, await page.locator("#view-sensor").getAttribute("data-alarms")];
    if (format === "onnx") await context.close();
  }
  expect(told.tflite).toEqual(told.onnx);
  expect(Number((told.onnx as string[])[2])).toBeGreaterThan(5);
});

test("another window can be looked at, and what cannot be read is said in a line", async () => {
  const page = await opened("onnx");
  await verdict(page).filter({ hasText: /\w/ }).waitFor();
  await page.locator("#view-sensor input[type=file]").setInputFiles(READINGS);
  await page.locator("#view-sensor .status", { hasText: "70 windows" }).waitFor();
  await page.locator("#view-sensor input[type=range]").fill("0");
  await page.locator("#view-sensor .status", { hasText: "Steps 0 to 23" }).waitFor();
  for (const [text, words] of [
    ["flow\n1\n2\n", "It lacks pressure."],
    ["flow,pressure\n1,2\n", "must have at least 24 readings"],
    [`flow,pressure\n${"1,2\n".repeat(30)}hot,2\n`, "flow is “hot” in line 32"],
  ]) {
    await page.locator("#view-sensor input[type=file]").setInputFiles({ name: "r.csv", mimeType: "text/csv", buffer: Buffer.from(text!) });
    await page.locator(".notice", { hasText: words! }).waitFor();
  }
});

test("the view fits every width, and axe finds nothing to mend", async () => {
  const page = await opened("onnx", "", { reducedMotion: "reduce" });
  await page.locator("#view-sensor input[type=file]").setInputFiles(READINGS);
  await page.locator("#view-sensor .status", { hasText: "70 windows" }).waitFor();
  for (const [width, height, colorScheme] of SIZES) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme });
    await page.waitForTimeout(250);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
    await page.screenshot({ path: path.join(SCREENSHOTS, `series-${width}-${colorScheme}.png`), fullPage: true });
    if (width > 400) continue;
    await page.evaluate(fs.readFileSync(axe, "utf8"));
    const violations = await page.evaluate(async () => {
      const { violations } = await (globalThis as any).axe.run(document);
      return violations.map((one: any) => `${one.id}: ${one.nodes.map((node: any) => node.html).join("; ")}`) as string[];
    });
    expect(violations).toEqual([]);
  }
});
