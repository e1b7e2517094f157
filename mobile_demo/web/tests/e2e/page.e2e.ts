// The page as a person meets it: a phone of 390 x 844 with touch, in a real Chromium.

import fs from "node:fs";
import path from "node:path";
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";

import { DIST, PHONE, ROOT, SEVEN, SIZES, choose, drawStroke, launch, ready, startServer } from "../browser.mjs";
import fixture from "../fixtures/random.json";

const VIEWS = ["draw", "morph", "sample", "anomaly"] as const;
const RUNTIMES = ["tflite", "onnx"] as const;
const SCREENSHOTS = path.join(ROOT, "screenshots");
const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

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
beforeEach(async () => {
  errors = [];
  server.requests.length = 0;
  context = await browser.newContext(PHONE);
});
afterEach(() => context.close());

async function open(hash = "", inContext = context): Promise<Page> {
  const page = await inContext.newPage();
  page.on("pageerror", (err) => errors.push(err.message));
  await page.goto(server.url + hash);
  return page;
}

async function opened(hash = "", inContext = context): Promise<Page> {
  const page = await open(hash, inContext);
  await ready(page);
  return page;
}

const notices = (page: Page) => page.locator("#notices").textContent();
const tab = (page: Page, view: string) => page.locator(`#tab-${view}`).click();
const pixels = (page: Page, selector: string) =>
  page.locator(selector).evaluateAll((all) => all.map((canvas) => (canvas as HTMLCanvasElement).toDataURL()));
const kept = (page: Page) => page.waitForSelector('body[data-kept="kept"]', { timeout: 30_000 });

interface Proof {
  graph: string;
  error: number;
  sameCodes: boolean | null;
  passed: boolean;
}

/** The golden sample of every graph. */
const proofs = (page: Page) =>
  page.evaluate(async () => {
    const { model } = (globalThis as any).pocket.running;
    const all = [];
    for (const { graph } of model.files) all.push(await (await model.graph(graph)).selfTest());
    return all as Proof[];
  });

test("something moves before the first touch, and ten digits with it", async () => {
  const page = await opened();
  await page.waitForSelector('.tile[aria-pressed="true"]');
  const before = await pixels(page, ".tile canvas");
  expect(before).toHaveLength(10);
  expect(new Set(before).size).toBe(10);
  await page.waitForFunction((first) => document.querySelector<HTMLCanvasElement>(".tile canvas")!.toDataURL() !== first, before[0]);
  expect(errors).toEqual([]);
});

test("who wants no motion gets none", async () => {
  await context.close();
  context = await browser.newContext({ ...PHONE, reducedMotion: "reduce" });
  const page = await opened();
  await page.waitForSelector('.tile[aria-pressed="true"]');
  await page.waitForTimeout(300);
  const before = await pixels(page, ".tile canvas, canvas.drawing");
  await page.waitForTimeout(900);
  expect(await pixels(page, ".tile canvas, canvas.drawing")).toEqual(before);
});

test.each(RUNTIMES)("a seven drawn with a finger comes back as ten digits, in %s", async (runtime) => {
  const page = await opened();
  await choose(page, runtime);
  await page.getByRole("button", { name: "Clear" }).click();
  await drawStroke(page, SEVEN);
  await page.waitForFunction(() => performance.getEntriesByName("drawing to images").length > 0);
  expect(await page.locator('.tile[aria-pressed="true"]').textContent()).toBe("7");
  expect(new Set(await pixels(page, ".tile canvas")).size).toBe(10);
  // A person knows better: the class that was meant.
  const before = await pixels(page, ".tile canvas");
  await page.locator(".tile").nth(1).click();
  await page.waitForSelector('.tile:nth-child(2)[aria-pressed="true"]');
  expect(await pixels(page, ".tile canvas")).not.toEqual(before);
  await page.screenshot({ path: path.join(SCREENSHOTS, `drawn-${runtime}.png`) });
  expect(errors).toEqual([]);
});

test("the image follows a finger over the map", async () => {
  const page = await opened("#view=morph");
  await page.waitForSelector('body[data-view="morph"]');
  const seen = new Set<string>();
  for (const [x, y] of [[0.2, 0.2], [0.5, 0.3], [0.8, 0.8]] as const) {
    await drawStroke(page, [[0.5, 0.5], [x, y]], ".pad");
    await page.waitForTimeout(120);
    seen.add((await pixels(page, ".frame canvas"))[0]!);
  }
  expect(seen.size).toBe(3);
  expect(Number(await page.locator(".pad").getAttribute("aria-valuenow"))).toBeCloseTo(0.6, 1);
  await page.locator(".pad").press("ArrowLeft");
  await page.waitForTimeout(100);
  expect(Number(await page.locator(".pad").getAttribute("aria-valuenow"))).toBeCloseTo(0.55, 1);
  expect(seen).not.toContain((await pixels(page, ".frame canvas"))[0]);
});

test("a walk goes from one class to another", async () => {
  const page = await opened("#view=morph&class.label=3");
  await drawStroke(page, [[0.4, 0.4], [0.5, 0.5]], ".pad");
  await page.getByLabel("Walk to").selectOption("8");
  const at = async (time: string) => {
    await page.getByLabel("How far the walk is").fill(time);
    await page.waitForTimeout(200);
    return (await pixels(page, ".frame canvas"))[0]!;
  };
  const frames = [await at("0.01"), await at("0.5"), await at("1")];
  expect(new Set(frames).size).toBe(3);
  // It arrives where the class stands at this place.
  await page.locator('#view-morph .choices [data-value="8"]').click();
  await page.waitForTimeout(300);
  expect((await pixels(page, ".frame canvas"))[0]).toBe(frames[2]);
});

test("a seed shows the same samples again, and its link in another window", async () => {
  const page = await opened("#view=sample&class.label=7&seed=42&temperature=0.8&count=9");
  await page.waitForFunction(() => document.querySelectorAll(".samples canvas").length === 9);
  const before = await pixels(page, ".samples canvas");
  const link = new URL(page.url()).hash;
  expect(link).toContain("seed=42");
  expect(link).toContain("class.label=7");
  await page.locator("#view-sample").getByLabel("seed", { exact: true }).fill("43");
  await page.waitForTimeout(200);
  expect(await pixels(page, ".samples canvas")).not.toEqual(before);
  await page.locator("#view-sample").getByLabel("seed", { exact: true }).fill("42");
  await page.waitForTimeout(200);
  expect(await pixels(page, ".samples canvas")).toEqual(before);
  const other = await opened(link);
  await other.waitForFunction(() => document.querySelectorAll(".samples canvas").length === 9);
  expect(await pixels(other, ".samples canvas")).toEqual(before);
  expect(await other.locator(".sample .command code").textContent()).toBe(
    "python mobile_demo/edge/sample.py --model mobile_demo/models/decoder.tflite --label 7 --count 9 --seed 42 --temperature 0.8",
  );
});

test("the latents of a seed are Python's, bit for bit", async () => {
  const page = await opened();
  for (const { seed, count, latent_dim, temperature, sha256 } of fixture.blocks) {
    const z = await page.evaluate(
      ([seed, count, dim, temperature]) => Array.from((globalThis as any).pocket.draw(seed, count, dim, temperature) as Float32Array),
      [seed, count, latent_dim, temperature],
    );
    expect(createHash("sha256").update(new Uint8Array(Float32Array.from(z).buffer)).digest("hex")).toBe(sha256);
  }
});

test("both runtimes give Python's golden samples, at both precisions", async () => {
  const page = await opened();
  for (const runtime of RUNTIMES) {
    await choose(page, runtime);
    const exact = await proofs(page);
    expect(exact.length).toBe(4);
    for (const { graph, error } of exact) expect(error, `${runtime} ${graph}`).toBeLessThanOrEqual(1e-5);
    for (const { graph, sameCodes } of exact) if (graph === "decoder" || graph === "sampler") expect(sameCodes).toBe(true);
    await choose(page, runtime, "int8");
    for (const proof of await proofs(page)) expect(proof.passed, `${runtime} int8 ${proof.graph}`).toBe(true);
  }
  expect(errors).toEqual([]);
});

test("the anomaly view ranks a digit below noise", async () => {
  const page = await opened("#view=anomaly");
  const percentile = async (button: string) => {
    await page.getByRole("button", { name: button, exact: true }).click();
    await page.waitForTimeout(500);
    return [await page.locator(".anomaly .verdict").textContent(), Number(await page.locator(".anomaly").getAttribute("data-percentile"))] as const;
  };
  const [, example] = await percentile("Example");
  const [words, noise] = await percentile("Noise");
  expect(noise).toBe(100);
  expect(words).toContain("Unlike anything");
  expect(example).toBeLessThan(100);
  await page.getByRole("button", { name: "Clear" }).last().click();
  await drawStroke(page, SEVEN);
  await page.waitForTimeout(400);
  expect(await page.locator(".anomaly .status").textContent()).toMatch(/Score \d+\.\d nats, as 7/);
});

test("a picture from the phone is scored; a file that is none is refused", async () => {
  const page = await opened("#view=anomaly");
  const input = page.getByLabel("Picture from this device");
  await input.setInputFiles({ name: "letter.png", mimeType: "image/png", buffer: Buffer.from("no picture at all") });
  await page.waitForFunction(() => document.querySelector("#notices")!.textContent!.includes("cannot be read as a picture"));
  await input.setInputFiles(path.join(DIST, "icons/icon-192.png"));
  await page.waitForFunction(() => /Score/.test(document.querySelector(".anomaly .status")!.textContent!));
  expect(errors).toEqual([]);
});

test.each(RUNTIMES)("works with the server gone, after a reload and in a new tab, in %s", async (runtime) => {
  const page = await opened();
  if (runtime === "onnx") await choose(page, "onnx");
  await kept(page);
  const fetched = server.requests.filter(({ method, status }) => method === "GET" && status === 200).map(({ path: name }) => name);
  const twice = fetched.filter((name, i) => fetched.indexOf(name) !== i);
  expect(twice).toEqual([]);
  await server.stop();
  try {
    await page.reload();
    await ready(page, { runtime });
    await page.waitForSelector('.tile[aria-pressed="true"]');
    await page.waitForSelector('#network[data-state="offline"]');
    const other = await opened("#view=sample&seed=7&class.label=4");
    await ready(other, { runtime });
    await other.waitForSelector(".samples canvas");
    for (const view of VIEWS) await tab(other, view);
    await other.getByRole("button", { name: "Example", exact: true }).click();
    await other.waitForFunction(() => /Score/.test(document.querySelector(".anomaly .status")!.textContent!));
    expect(await notices(other)).toBe("");
  } finally {
    await server.start();
  }
  await page.evaluate(() => dispatchEvent(new Event("online")));
  await page.waitForSelector('#network[data-state="kept"]');
  expect(errors).toEqual([]);
});

interface Damage {
  what: string;
  edit(content: Buffer): Buffer;
  says: RegExp;
}

const replace = (from: string, to: string) => (content: Buffer) => {
  const at = content.indexOf(from);
  expect(at).toBeGreaterThan(0);
  expect(from.length).toBe(to.length);
  return Buffer.concat([content.subarray(0, at), Buffer.from(to), content.subarray(at + from.length)]);
};
const DAMAGES: Damage[] = [
  { what: "is cut off", edit: (content) => content.subarray(0, content.length >> 1), says: /cut off|does not run|no keras_vae manifest/ },
  { what: "is empty", edit: () => Buffer.from("nothing"), says: /cut off/ },
  { what: "is of a newer schema", edit: replace('"schema":1', '"schema":9'), says: /is of schema 9, and this page reads 1/ },
  { what: "has no manifest", edit: replace("keras_vae", "other_key"), says: /holds no keras_vae manifest/ },
  { what: "does not match its manifest", edit: replace('"data_shape":[28,28,1]', '"data_shape":[29,28,1]'), says: /does not match its graph|damaged|does not run/ },
];

/** Serve another content for the decoder of one format, with its right size and checksum. */
async function damage(page: Page, format: string, edit: Damage["edit"]) {
  const bundles = JSON.parse(fs.readFileSync(path.join(DIST, "models.json"), "utf8"));
  const file = bundles[0].files.find((one: any) => one.name === `decoder.${format}`);
  const body = edit(fs.readFileSync(path.join(DIST, file.url)));
  Object.assign(file, { bytes: body.length, sha256: createHash("sha256").update(body).digest("hex") });
  await page.route("**/models.json", (route) => route.fulfill({ json: bundles }));
  await page.route(`**/${file.url}`, (route) => route.fulfill({ body, contentType: "application/octet-stream" }));
}

// What is said of the manifest is the same in both formats.
const DAMAGED = [...DAMAGES.map((one) => ({ format: "tflite", ...one })), { format: "onnx", ...DAMAGES[0]! }, { format: "onnx", ...DAMAGES[3]! }];

test.each(DAMAGED)(
  "a decoder.$format that $what is named, and the other runtime offered",
  async ({ format, edit, says }) => {
    await context.close();
    context = await browser.newContext({ ...PHONE, serviceWorkers: "block" });
    const page = await context.newPage();
    page.on("pageerror", (err) => errors.push(err.message));
    await damage(page, format, edit);
    await page.addInitScript((value) => localStorage.setItem("runtime and precision", `${value} none`), format);
    await page.goto(server.url);
    await page.waitForSelector('body[data-state="failed"]');
    expect(await notices(page)).toMatch(says);
    expect(await notices(page)).toContain(`decoder.${format}`);
    await page.getByRole("button", { name: /^Use / }).click();
    await ready(page, { runtime: format === "tflite" ? "onnx" : "tflite" });
    await page.waitForSelector('.tile[aria-pressed="true"]');
  },
);

test("a file that changed on its way is refused", async () => {
  await context.close();
  context = await browser.newContext({ ...PHONE, serviceWorkers: "block" });
  const page = await context.newPage();
  await page.route("**/models/scorer-*", async (route) => {
    const response = await route.fetch();
    const body = Buffer.from(await response.body());
    body[body.length >> 1]! ^= 255;
    await route.fulfill({ response, body });
  });
  await page.goto(server.url);
  await ready(page);
  await tab(page, "anomaly");
  await page.getByRole("button", { name: "Example", exact: true }).click();
  await page.waitForFunction(() => document.querySelector("#notices")!.textContent!.includes("checksum"));
  // The rest keeps working.
  await tab(page, "sample");
  await page.waitForSelector(".samples canvas");
  // The runtime may still ask for the file when the test has seen enough.
  await page.unrouteAll({ behavior: "ignoreErrors" });
});

test("a link with an unknown class or a seed out of range says so, and the rest of it counts", async () => {
  const page = await opened("#view=sample&class.label=<b>eleven</b>&seed=99999999999&temperature=0.5&model=00000000");
  const text = (await notices(page))!;
  expect(text).toContain("the class “<b>eleven</b>”, which this model does not know");
  expect(text).toContain("seed must be a whole number from 0 to 2147483647");
  expect(text).toContain("made with another model");
  expect(await page.locator("#notices b").count()).toBe(0);
  await page.waitForSelector(".samples canvas");
  expect(await page.locator(".samples").getAttribute("aria-label")).toContain("seed 42");
});

test("a full store is said once, and the page works", async () => {
  const page = await context.newPage();
  page.on("pageerror", (err) => errors.push(err.message));
  const client = await context.newCDPSession(page);
  await client.send("Storage.overrideQuotaForOrigin", { origin: server.url.slice(0, -1), quotaSize: 400_000 });
  await page.goto(server.url);
  await page.waitForSelector('body[data-kept="no room"]', { timeout: 30_000 });
  expect(await notices(page)).toContain("no room on this device");
  await drawStroke(page, SEVEN);
  await page.waitForSelector('.tile[aria-pressed="true"]');
  expect(errors).toEqual([]);
});

test("a browser without WebAssembly SIMD is told", async () => {
  const old = await launch(["--js-flags=--no-enable-sse4-1"]);
  try {
    const page = await open("", await old.newContext(PHONE));
    await page.waitForSelector('body[data-state="failed"]');
    expect(await notices(page)).toContain("no WebAssembly SIMD");
    await tab(page, "morph");
  } finally {
    await old.close();
  }
  expect(errors).toEqual([]);
});

test.each(["light", "dark"] as const)("axe finds nothing to mend in any view, %s", async (colorScheme) => {
  await context.close();
  context = await browser.newContext({ ...PHONE, colorScheme, reducedMotion: "reduce" });
  const page = await opened();
  // The page's own rules let no foreign script in; this one comes by way of the debugger.
  const source = fs.readFileSync(axe, "utf8");
  await page.evaluate(source);
  for (const view of VIEWS) {
    await tab(page, view);
    if (view === "anomaly") await page.getByRole("button", { name: "Example", exact: true }).click();
    if (view === "morph") await page.locator("#facts summary").click();
    await page.waitForTimeout(400);
    const violations = await page.evaluate(async () => {
      const { violations } = await (globalThis as any).axe.run(document);
      return violations.map((one: any) => `${one.id}: ${one.nodes.map((node: any) => `${node.html} ${node.failureSummary ?? ""}`).join("; ")}`) as string[];
    });
    expect(violations, `${view} ${colorScheme}`).toEqual([]);
    const small = await page.evaluate(() =>
      [...document.querySelectorAll<HTMLElement>("button, select, summary, input:not(.hidden), [role=slider]")]
        .filter((one) => one.offsetParent && !one.closest("dialog:not([open])"))
        .map((one) => [one.outerHTML.slice(0, 80), one.getBoundingClientRect()] as const)
        .filter(([, box]) => box.height < 43.5 || box.width < 43.5)
        .map(([html, box]) => `${html} ${box.width}x${box.height}`),
    );
    expect(small, view).toEqual([]);
  }
});

test("the page can be installed", async () => {
  const page = await opened();
  await kept(page);
  const client = await context.newCDPSession(page);
  const { errors: faults, data } = await client.send("Page.getAppManifest");
  expect(faults).toEqual([]);
  const manifest = JSON.parse(data!);
  expect(manifest.display).toBe("standalone");
  for (const icon of manifest.icons) {
    const response = await page.request.get(new URL(icon.src, server.url).href);
    const body = await response.body();
    expect(response.headers()["content-type"]).toBe("image/png");
    expect(`${body.readUInt32BE(16)}x${body.readUInt32BE(20)}`).toBe(icon.sizes);
  }
  const { installabilityErrors } = await client.send("Page.getInstallabilityErrors");
  // A private window, as tests use, can install nothing.
  expect(installabilityErrors.map(({ errorId }) => errorId).filter((id) => id !== "in-incognito")).toEqual([]);
});

test("nothing but questions for files leaves the page", async () => {
  const page = await context.newPage();
  const sent: string[] = [];
  page.on("request", (request) => {
    if (!["GET", "HEAD"].includes(request.method()) || request.postData()) sent.push(request.url());
    if (!request.url().startsWith(server.url) && !/^(blob|data):/.test(request.url())) sent.push(request.url());
  });
  await page.goto(server.url);
  await ready(page);
  await drawStroke(page, SEVEN);
  for (const view of VIEWS) await tab(page, view);
  await page.waitForTimeout(500);
  expect(sent).toEqual([]);
});

test("no width needs scrolling to the side", async () => {
  const page = await opened();
  for (const [width, height, colorScheme] of SIZES) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme });
    for (const view of VIEWS) {
      await tab(page, view);
      if (view === "anomaly") await page.getByRole("button", { name: "Example", exact: true }).click();
      await page.waitForTimeout(400);
      expect(await page.evaluate(() => document.documentElement.scrollWidth), `${view} at ${width}`).toBeLessThanOrEqual(width);
      await page.screenshot({ path: path.join(SCREENSHOTS, `${view}-${width}x${height}-${colorScheme}.png`) });
    }
  }
}, 180_000);
