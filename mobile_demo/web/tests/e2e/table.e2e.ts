// A model of a table: rows of a seed, the file of them, and how unusual a row is.

import fs from "node:fs";
import path from "node:path";
import type { Page } from "playwright-core";
import { expect, test } from "vitest";

import { ROOT, SIZES } from "../browser.mjs";
import { SCREENSHOTS, pagesOf, violations } from "./pages";

const FOLDER = process.env.TABLE ?? path.join(ROOT, "tests", "fixtures", "table");

const pages = pagesOf(FOLDER, { id: "visits", music: false, table: true });
const opened = (format: string, hash = "", options = {}): Promise<Page> => pages.open({ format, hash, options });

const cells = (page: Page) =>
  page.locator(".grid tbody tr").evaluateAll((rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent)));
const settled = (page: Page, caption: RegExp) =>
  page.waitForFunction((source) => new RegExp(source).test(document.querySelector(".grid caption")?.textContent ?? ""), caption.source);

test("a seed makes the same rows in both runtimes, of the conditions that are asked for", async () => {
  const drawn: Record<string, unknown> = {};
  for (const format of ["onnx", "tflite"]) {
    const page = await opened(format, "#view=rows&class.sex=male&seed=7&count=40");
    await settled(page, /^40 rows of seed 7$/);
    await page.locator(".proof", { hasText: "✓" }).first().waitFor();
    drawn[format] = await cells(page);
    const head = await page.locator(".grid th").allTextContents();
    expect(head).toEqual(["age", "height (cm)", "weight (kg)", "reason for the visit", "costs", "smokes", "sex"]);
    expect(new Set((await cells(page)).map((row) => row.at(-1)))).toEqual(new Set(["male"]));
    expect(await page.locator(".table .command code").textContent()).toContain("--condition sex=male --count 40 --seed 7 --out rows.csv");
    if (format === "onnx") await pages.close();
  }
  expect(drawn.tflite).toEqual(drawn.onnx);
});

test("rows are taken along as a file, all of them, with what commas need", async () => {
  const page = await opened("onnx", "", { isMobile: false, hasTouch: false });
  await page.locator("#view-rows").getByLabel("count").fill("200");
  await settled(page, /^200 rows of seed 42, the first 50 shown$/);
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Save as CSV" }).click()]);
  expect(download.suggestedFilename()).toBe("rows-seed-42.csv");
  const lines = fs.readFileSync(await download.path(), "utf8").trim().split("\n");
  expect(lines.length).toBe(201);
  expect(lines.some((line) => line.includes('"check-up, yearly"'))).toBe(true);
  expect(await page.locator("#tabs [role=tab]:visible").allTextContents()).toEqual(["Rows", "Score"]);
});

test("an unusual row is named, and what makes it so", async () => {
  const page = await opened("onnx", "#view=score");
  await page.locator("#view-score .verdict", { hasText: /\w/ }).waitFor();
  const status = page.locator("#view-score .status");
  const before = await status.textContent();
  await page.locator("#view-score").getByLabel("height (cm)").fill("230");
  await page.waitForFunction((was) => document.querySelector("#view-score .status")!.textContent !== was, before);
  await page.locator(".odd li", { hasText: "height 230" }).waitFor();
  expect(await page.locator("#view-score .verdict").textContent()).toMatch(/^(Unlike any|Very unusual)/);
  await page.getByRole("button", { name: "Clear" }).click();
  await page.waitForFunction(() => document.querySelectorAll(".odd li").length === 0);
});

test("every view fits every width, and axe finds nothing to mend", async () => {
  const page = await opened("onnx", "", { reducedMotion: "reduce" });
  for (const [width, height, colorScheme] of SIZES) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme });
    for (const view of ["rows", "score"]) {
      await page.locator(`#tab-${view}`).click();
      await page.waitForTimeout(250);
      expect(await page.evaluate(() => document.documentElement.scrollWidth), `${view} at ${width}`).toBeLessThanOrEqual(width);
      await page.screenshot({ path: path.join(SCREENSHOTS, `table-${view}-${width}-${colorScheme}.png`), fullPage: true });
      if (width > 400) continue;
      expect(await violations(page), view).toEqual([]);
    }
  }
});
