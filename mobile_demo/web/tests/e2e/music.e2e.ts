// Music on a phone: a melody is tapped, harmonised and heard, in a build whose models hold some.

import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { DIST, PHONE, ROOT, SIZES, choose, launch, ready, startServer } from "../browser.mjs";

const SCREENSHOTS = path.join(ROOT, "screenshots");
const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const bundles: { music: boolean; files: { precision: string }[] }[] = JSON.parse(fs.readFileSync(path.join(DIST, "models.json"), "utf8"));
const RUNTIMES = ["tflite", "onnx"] as const;
/** Of the first file of music: what is shipped is exact, a bundle of one's own may not be. */
const PRECISION = bundles.find(({ music }) => music)?.files[0]?.precision ?? "none";

let browser: Browser;
let server: Awaited<ReturnType<typeof startServer>>;
let context: BrowserContext;
let errors: string[] = [];

beforeAll(async () => {
  fs.mkdirSync(SCREENSHOTS, { recursive: true });
  [browser, server] = await Promise.all([launch(["--autoplay-policy=user-gesture-required"]), startServer()]);
});
afterAll(async () => {
  await browser.close();
  await server.stop();
});
beforeEach(async () => {
  errors = [];
  context = await browser.newContext(PHONE);
});
afterEach(async () => {
  await context.close();
  expect(errors).toEqual([]);
});

const status = (page: Page) => page.locator(".music .status").textContent();
const said = (page: Page, pattern: RegExp) =>
  page.waitForFunction((source) => new RegExp(source).test(document.querySelector(".music .status")!.textContent!), pattern.source);
const roll = (page: Page) => page.locator(".roll canvas").evaluate((canvas) => (canvas as HTMLCanvasElement).toDataURL());
const place = (page: Page) => page.getByLabel("Place in the melody");

async function opened(inContext = context, hash = "#view=music"): Promise<Page> {
  const page = await inContext.newPage();
  page.on("pageerror", (err) => errors.push(err.message));
  await page.goto(server.url + hash);
  await ready(page);
  await said(page, /^Ten /);
  return page;
}

/** Tap the roll at parts of its width and height. */
async function tap(page: Page, x: number, y: number) {
  await page.locator(".roll").scrollIntoViewIfNeeded();
  const box = (await page.locator(".roll canvas").boundingBox())!;
  await page.touchscreen.tap(box.x + x * box.width, box.y + y * box.height);
}

describe.skipIf(!bundles.some(({ music }) => music))("music", () => {
  test.each(RUNTIMES)("a tap is harmonised ten times, and heard, in %s", async (runtime) => {
    const page = await opened();
    if (runtime === "onnx") await choose(page, "onnx", PRECISION);
    await said(page, /^Ten harmonisations of seed 42: this is 1/);
    const before = await roll(page);
    await tap(page, 0.06, 0.1);
    await page.waitForFunction(() => performance.getEntriesByName("drawing to images").length > 0);
    expect(await roll(page)).not.toBe(before);
    expect(await page.getByLabel("Melody", { exact: true }).inputValue()).toBe("yours");
    await page.waitForFunction(() => performance.getEntriesByName("tap to sound").length > 0);
    const pieces = new Set<string>();
    for (const button of await page.getByRole("radiogroup", { name: "Pieces" }).getByRole("radio").all()) {
      await button.tap();
      pieces.add(await roll(page));
    }
    expect(pieces.size).toBeGreaterThan(5);
    expect(await status(page)).toBe("This is 10 of 10.");
  });

  test("a tap on a note takes it away", async () => {
    const page = await opened();
    await tap(page, 0.06, 0.1);
    await place(page).focus();
    expect(await place(page).getAttribute("aria-valuetext")).toMatch(/^bar 1, beat 1: [A-G]/);
    await tap(page, 0.06, 0.1);
    await place(page).focus();
    expect(await place(page).getAttribute("aria-valuetext")).toBe("bar 1, beat 1: rest");
  });

  test("the golden samples come note for note", async () => {
    const page = await opened();
    for (const runtime of RUNTIMES) {
      await choose(page, runtime, PRECISION);
      const proofs = await page.evaluate(async () => {
        const { model } = (globalThis as any).pocket.running;
        const all = [];
        for (const { graph } of model.files) all.push(await (await model.graph(graph)).selfTest());
        return all as { graph: string; passed: boolean; sameCodes: boolean | null }[];
      });
      for (const { graph, passed } of proofs) expect(passed, `${runtime} ${graph}`).toBe(true);
    }
  });

  test("a seed and a melody make the same piece in both runtimes, another seed another", async () => {
    const page = await opened();
    const rolls: string[] = [];
    for (const runtime of RUNTIMES) {
      await choose(page, runtime, PRECISION);
      await said(page, /^Ten /);
      await page.waitForTimeout(500);
      rolls.push(await roll(page));
    }
    expect(rolls[0]).toBe(rolls[1]);
    await page.locator("#view-music").getByLabel("seed", { exact: true }).fill("43");
    await said(page, /of seed 43/);
    const another = await roll(page);
    expect(another).not.toBe(rolls[0]);
    // Without a seed nothing is made, also by a tap, and the page says what it wants.
    for (const wrong of ["", "1.5", "2147483648"]) {
      await page.locator("#view-music").getByLabel("seed", { exact: true }).fill(wrong);
      await said(page, /must be a whole number from 0 to 2147483647/);
    }
    await page.getByLabel("Melody", { exact: true }).selectOption("of the seed");
    expect(await roll(page)).toBe(another);
    await page.locator("#view-music").getByLabel("seed", { exact: true }).fill("44");
    await said(page, /of seed 44/);
    expect(await roll(page)).not.toBe(another);
  });

  test("it plays, follows, is stopped, and ends by itself without the loop", async () => {
    const page = await opened();
    const before = await roll(page);
    await page.getByRole("button", { name: "Play" }).tap();
    expect(await status(page)).toBe("Playing 1 at 80 beats a minute.");
    await page.waitForFunction((still) => document.querySelector<HTMLCanvasElement>(".roll canvas")!.toDataURL() !== still, before);
    await page.getByRole("radio", { name: "2", exact: true }).tap();
    await page.getByRole("button", { name: "Stop" }).tap();
    expect(await status(page)).toBe("Stopped.");
    await page.getByLabel("Beats a minute").fill("160");
    await page.getByRole("button", { name: "Loop" }).tap();
    await page.getByRole("button", { name: "Play" }).tap();
    await page.getByRole("button", { name: "Stop" }).waitFor();
    await said(page, /^Finished/); // 3 s at this tempo
    expect(await page.getByRole("button", { name: "Play" }).isVisible()).toBe(true);
  });

  test("a melody can be written with the keyboard alone, and is read aloud", async () => {
    const page = await opened();
    await page.getByRole("button", { name: "Clear" }).focus();
    await page.keyboard.press("Enter");
    await said(page, /^Ten /);
    await place(page).focus();
    const text = () => place(page).getAttribute("aria-valuetext");
    expect(await text()).toBe("bar 1, beat 1: rest");
    await page.keyboard.press("ArrowUp");
    const first = await text();
    expect(first).toMatch(/^bar 1, beat 1: [A-G]( sharp| flat)? [45]$/);
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowUp");
    expect(await text()).toBe(first!.replace("beat 1", "beat 2"));
    await page.keyboard.press("ArrowDown");
    expect(await text()).not.toBe(first!.replace("beat 1", "beat 2"));
    await page.keyboard.press("Delete");
    expect(await text()).toBe("bar 1, beat 2: rest");
  });

  test("a morph leads from one piece to another", async () => {
    const page = await opened();
    const slider = page.getByLabel("How far the morph is");
    if (!(await slider.isVisible())) return;
    const at = async (step: string) => {
      await slider.fill(step);
      await said(page, new RegExp(`step ${step} of 8`));
      return roll(page);
    };
    const [first, last] = [await roll(page), await at("8")];
    expect(await at("0")).toBe(first);
    await at("4");
    await page.getByRole("radio", { name: "2", exact: true }).tap();
    expect(await roll(page)).toBe(last);
  });

  test("a link sings the same in another window", async () => {
    const page = await opened();
    await tap(page, 0.06, 0.1);
    await page.waitForFunction(() => location.hash.includes("melody="));
    await page.getByLabel("Temperature of the notes").fill("0.9");
    await page.locator("#view-music").getByLabel("seed", { exact: true }).fill("7");
    await said(page, /of seed 7/);
    await page.getByRole("radio", { name: "3", exact: true }).tap();
    const link = new URL(page.url()).hash;
    expect(link).toMatch(/view=music.*seed=7.*token_temperature=0.9&piece=3&melody=\d+x4\./);
    const other = await opened(context, link);
    expect(await status(other)).toMatch(/of seed 7: this is 3/);
    expect(await roll(other)).toBe(await roll(page));
    expect(await other.locator("#notices").textContent()).toBe("");
  });

  test("a piece is saved as a MIDI file", async () => {
    const page = await opened();
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Save MIDI" }).click()]);
    expect(download.suggestedFilename()).toBe("piece-42-1.mid");
    const content = fs.readFileSync(await download.path());
    expect(content.subarray(0, 4).toString()).toBe("MThd");
    expect(content.readUInt16BE(10)).toBe(5);
    // Its highest voice is the melody, which comes back; what is no MIDI file is refused.
    const before = await roll(page);
    await page.getByRole("button", { name: "Clear" }).click();
    await page.waitForFunction((was) => document.querySelector<HTMLCanvasElement>(".roll canvas")!.toDataURL() !== was, before);
    await page.getByLabel("MIDI file").setInputFiles({ name: "piece.mid", mimeType: "audio/midi", buffer: content });
    await page.waitForFunction((was) => document.querySelector<HTMLCanvasElement>(".roll canvas")!.toDataURL() === was, before);
    await page.getByLabel("MIDI file").setInputFiles({ name: "picture.mid", mimeType: "audio/midi", buffer: Buffer.from("GIF89a  and more") });
    await page.locator("#notices", { hasText: "no MIDI file" }).waitFor();
    expect(await roll(page)).toBe(before);
  });

  test.each(["organ", "choir"])("the %s is loud, not too loud, and clicks nowhere", async (timbre) => {
    const page = await opened();
    const { peak, loudness, jump, end } = await page.evaluate(async (name) => {
      const audio = new OfflineAudioContext(2, 4 * 44100, 44100);
      const { play, output } = (globalThis as any).pocket.instrument(audio, name, 4);
      output.connect(audio.destination);
      [[76, 67, 60, 48], [74, 67, 59, 43], [72, 64, 55, 48]].forEach((chord, i) => chord.forEach((pitch, voice) => play(voice, pitch, 0.1 + 0.75 * i, 0.75)));
      const rendered = await audio.startRendering();
      const found = { peak: 0, loudness: 0, jump: 0, end: 0 };
      for (const channel of [0, 1]) {
        const samples = rendered.getChannelData(channel);
        samples.forEach((value, i) => {
          found.peak = Math.max(found.peak, Math.abs(value));
          if (i > 0) found.jump = Math.max(found.jump, Math.abs(value - samples[i - 1]!));
          if (i > 3.8 * 44100) found.end = Math.max(found.end, Math.abs(value));
        });
        const sung = samples.subarray(0.2 * 44100, 2.3 * 44100);
        found.loudness += Math.sqrt(sung.reduce((sum, value) => sum + value * value, 0) / sung.length) / 2;
      }
      return found;
    }, timbre);
    expect(peak).toBeLessThan(1);
    expect(loudness).toBeGreaterThan(0.07);
    expect(jump).toBeLessThan(0.15);
    expect(end).toBeLessThan(0.01);
  });

  test("music works with the server gone, though the page was opened for pictures", async () => {
    const page = await context.newPage();
    page.on("pageerror", (err) => errors.push(err.message));
    await page.goto(server.url);
    await ready(page);
    await page.waitForSelector('body[data-kept="kept"]', { timeout: 30_000 });
    await server.stop();
    try {
      await page.reload();
      await ready(page);
      if (bundles.length > 1) await page.locator("#tab-music").click();
      await said(page, /^Ten /);
      if (bundles.length > 1) {
        await page.locator("#tab-sample").click();
        await page.waitForSelector(".samples canvas");
      }
    } finally {
      await server.start();
    }
  });

  test.each(["light", "dark"] as const)("axe finds nothing to mend, %s", async (colorScheme) => {
    await context.close();
    context = await browser.newContext({ ...PHONE, colorScheme, reducedMotion: "reduce" });
    const page = await opened();
    await page.evaluate(fs.readFileSync(axe, "utf8"));
    await page.waitForTimeout(400);
    const violations = await page.evaluate(async () => {
      const { violations } = await (globalThis as any).axe.run(document);
      return violations.map((one: any) => `${one.id}: ${one.nodes.map((node: any) => `${node.html} ${node.failureSummary ?? ""}`).join("; ")}`) as string[];
    });
    expect(violations).toEqual([]);
    const small = await page.evaluate(() =>
      [...document.querySelectorAll<HTMLElement>("button, select, summary, input:not(.hidden)")]
        .filter((one) => one.offsetParent)
        .map((one) => [one.outerHTML.slice(0, 80), one.getBoundingClientRect()] as const)
        .filter(([, box]) => box.height < 43.5 || box.width < 43.5)
        .map(([html, box]) => `${html} ${box.width}x${box.height}`),
    );
    expect(small).toEqual([]);
  });

  test("no width needs scrolling to the side", async () => {
    const page = await opened();
    for (const [width, height, colorScheme] of SIZES) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      await page.waitForTimeout(200);
      expect(await page.evaluate(() => document.documentElement.scrollWidth), `at ${width}`).toBeLessThanOrEqual(width);
      await page.screenshot({ path: path.join(SCREENSHOTS, `music-${width}x${height}-${colorScheme}.png`) });
    }
  });
});
