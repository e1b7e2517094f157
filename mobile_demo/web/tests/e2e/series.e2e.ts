// A scorer of a series: readings, which of their windows are unusual, and what makes them so.

import path from "node:path";
import type { Page } from "playwright-core";
import { expect, test } from "vitest";

import { ROOT, SIZES } from "../browser.mjs";
import { SCREENSHOTS, pagesOf, violations } from "./pages";

const FOLDER = process.env.SERIES ?? path.join(ROOT, "tests", "fixtures", "series");
const READINGS = path.join(ROOT, "tests", "fixtures", "series", "readings.csv");

const pages = pagesOf(FOLDER, { id: "pump", music: false, series: true });
const opened = (format: string, hash = "", options = {}): Promise<Page> => pages.open({ format, hash, options });

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
    if (format === "onnx") await pages.close();
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
    expect(await violations(page)).toEqual([]);
  }
});
