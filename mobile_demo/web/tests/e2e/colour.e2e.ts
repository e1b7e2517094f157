// A model of colour pictures: what the page shows first, and what it does with a person's pictures.

import path from "node:path";
import type { Page } from "playwright-core";
import { expect, test } from "vitest";

import { ROOT, SIZES } from "../browser.mjs";
import { SCREENSHOTS, pagesOf, violations } from "./pages";

const FOLDER = process.env.COLOUR ?? path.join(ROOT, "tests", "fixtures", "colour");

const pages = pagesOf(FOLDER, { id: "colour", music: false, folder: null });
const opened = (options = {}, hash = ""): Promise<Page> => pages.open({ options, hash });

const tab = (page: Page, view: string) => page.locator(`#tab-${view}`).click();
const pixels = (page: Page, selector: string) =>
  page.locator(selector).evaluateAll((all) => all.map((canvas) => (canvas as HTMLCanvasElement).toDataURL()));
/** A picture of one colour but for a square in its middle, as a file. */
async function picture(page: Page, colour: string): Promise<{ name: string; mimeType: string; buffer: Buffer }> {
  const base64 = await page.evaluate((fill) => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 300;
    const context = canvas.getContext("2d")!;
    context.fillStyle = fill;
    context.fillRect(80, 80, 140, 140);
    return canvas.toDataURL("image/png").split(",")[1]!;
  }, colour);
  return { name: "square.png", mimeType: "image/png", buffer: Buffer.from(base64, "base64") };
}
/** The colour in the middle of a canvas. */
const middle = (page: Page, selector: string) =>
  page.locator(selector).first().evaluate((canvas) => {
    const { width, height } = canvas as HTMLCanvasElement;
    return [...(canvas as HTMLCanvasElement).getContext("2d")!.getImageData(width / 2, height / 2, 1, 1).data.slice(0, 3)];
  });

test("samples come first, and there is nothing to draw on", async () => {
  const page = await opened();
  await page.locator(".samples canvas").first().waitFor();
  expect(await page.locator("#tab-sample").getAttribute("aria-selected")).toBe("true");
  expect(await page.locator("#tabs [role=tab]:visible").allTextContents()).toEqual(["Picture", "Morph", "Sample", "Anomaly"]);
  const before = await pixels(page, ".samples canvas");
  expect(new Set(before).size).toBe(16);
  // A tab that a person chose stays, whatever the data are.
  await tab(page, "morph");
  expect(await page.locator("#view-morph").isVisible()).toBe(true);
});

test("a person's picture is read, shown in every class, and leads to another one", async () => {
  const page = await opened({}, "#view=picture");
  await page.waitForFunction(() => document.querySelectorAll(".picture .tile[aria-pressed=true]").length === 1);
  const example = (await pixels(page, ".slot canvas"))[0];
  await page.getByLabel("The first picture", { exact: true }).setInputFiles(await picture(page, "#d02020"));
  await page.locator(".trio figcaption", { hasText: "yours" }).waitFor();
  await page.waitForFunction((was) => (document.querySelector(".slot canvas") as HTMLCanvasElement).toDataURL() !== was, example);
  await page.waitForTimeout(300);
  // What is transparent in it is white, and it is read as what it is: red, and a square.
  const [red, green, blue] = await middle(page, ".slot canvas");
  expect(red! > 150 && green! < 80 && blue! < 80).toBe(true);
  const [r, g, b] = await middle(page, ".trio figure > canvas");
  expect(r! > g! + 60 && r! > b! + 60).toBe(true);
  expect(await page.locator(".picture .tile[aria-pressed=true]").textContent()).toBe("square");
  const { name, mimeType, buffer } = await picture(page, "#2020d0");
  const dropped = await page.evaluateHandle(
    ({ base64, name, mimeType }) => {
      const content = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
      const data = new DataTransfer();
      data.items.add(new File([content], name, { type: mimeType }));
      return data;
    },
    { base64: buffer.toString("base64"), name, mimeType },
  );
  await page.locator(".slot").nth(1).dispatchEvent("drop", { dataTransfer: dropped });
  await page.waitForFunction(() => [...document.querySelectorAll(".trio figcaption")].filter((one) => one.textContent === "yours").length === 2);
  await page.waitForTimeout(300);
  const [, , end] = await middle(page, ".trio figure > canvas");
  expect(end! > 120).toBe(true);
  const slider = page.getByLabel("How far from the first");
  expect(await slider.inputValue()).toBe("1");
  const last = await pixels(page, ".trio figure > canvas");
  await slider.fill("0.5");
  await page.waitForFunction((was) => (document.querySelector(".trio figure > canvas") as HTMLCanvasElement).toDataURL() !== was, last[0]);
  // A person may say what it is.
  await page.locator(".picture .tile").first().click();
  await page.waitForFunction(() => document.querySelector(".picture .tile")!.getAttribute("aria-pressed") === "true");
  await page.getByLabel("The first picture", { exact: true }).setInputFiles({ name: "a.png", mimeType: "image/png", buffer: Buffer.from("no picture") });
  await page.locator("#notices", { hasText: "cannot be read as a picture" }).waitFor();
});

test("what is unusual says what it wants to be shown, and scores a picture", async () => {
  const page = await opened({}, "#view=anomaly");
  await page.locator(".anomaly .verdict", { hasText: /\w/ }).waitFor();
  expect(await page.locator(".anomaly canvas.drawing").isVisible()).toBe(false);
  expect(await page.locator(".anomaly .wish").textContent()).toContain("disc, square, a cross with a long name");
  const status = page.locator(".anomaly .status");
  const before = await status.textContent();
  await page.getByLabel("Picture from this device").setInputFiles(await picture(page, "#208020"));
  await page.waitForFunction((was) => document.querySelector(".anomaly .status")!.textContent !== was, before);
  const score = await status.textContent();
  await page.getByRole("button", { name: "Noise" }).tap();
  await page.waitForFunction((was) => document.querySelector(".anomaly .status")!.textContent !== was, score);
  expect(await page.locator(".anomaly .verdict").textContent()).toBe("Unlike anything it was trained on");
});

test("every view fits every width, and axe finds nothing to mend", async () => {
  const page = await opened({ reducedMotion: "reduce" });
  for (const [width, height, colorScheme] of SIZES) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme });
    for (const view of ["sample", "picture", "morph", "anomaly"]) {
      await tab(page, view);
      await page.waitForTimeout(250);
      expect(await page.evaluate(() => document.documentElement.scrollWidth), `${view} at ${width}`).toBeLessThanOrEqual(width);
      await page.screenshot({ path: path.join(SCREENSHOTS, `colour-${view}-${width}-${colorScheme}.png`), fullPage: true });
      if (width > 400) continue;
      expect(await violations(page), view).toEqual([]);
    }
  }
});
