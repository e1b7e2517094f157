// Pages with the models of a folder in place of their own, and what axe finds on them.

import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect } from "vitest";

import { PHONE, ROOT, filesOf, launch, ready, serveModels, startServer } from "../browser.mjs";

export const SCREENSHOTS = path.join(ROOT, "screenshots");
const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

interface Asked {
  /** Of the files; all by default. */
  format?: string;
  hash?: string;
  /** Of the browser's context. */
  options?: object;
}

/** A browser and a server for the tests of a file; no page may throw. */
export function pagesOf(folder: string, entry: { id: string; [kind: string]: unknown }) {
  const files = filesOf(folder, entry.id);
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
  return {
    async open({ format, hash = "", options = {} }: Asked = {}): Promise<Page> {
      errors = [];
      context = await browser.newContext({ ...PHONE, serviceWorkers: "block", ...options });
      const page = await context.newPage();
      page.on("pageerror", (err) => errors.push(err.message));
      await serveModels(page, folder, { ...entry, files: files.filter((file) => !format || file.format === format) });
      await page.goto(server.url + hash);
      await ready(page);
      return page;
    },
    close: () => context.close(),
  };
}

/** What axe has to mend on a page, a line each. */
export async function violations(page: Page): Promise<string[]> {
  await page.evaluate(fs.readFileSync(axe, "utf8"));
  return page.evaluate(async () => {
    const { violations } = await (globalThis as any).axe.run(document);
    return violations.map((one: any) => `${one.id}: ${one.nodes.map((node: any) => node.html).join("; ")}`) as string[];
  });
}
