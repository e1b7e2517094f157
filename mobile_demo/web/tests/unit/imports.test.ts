// No module imports itself through others, not even a type or when it is needed.

import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, test } from "vitest";

const SOURCE = fileURLToPath(new URL("../../src", import.meta.url));

/** The modules in a folder, each with those of them that it imports. */
function importsOf(folder: string): Map<string, string[]> {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
  const files = names.filter((name) => name.endsWith(".ts")).map((name) => join(folder, name));
  return new Map(
    files.map((file) => {
      const { importedFiles } = ts.preProcessFile(readFileSync(file, "utf8"), true, true);
      const paths = importedFiles.map(({ fileName }) => join(dirname(file), `${fileName}.ts`));
      return [file, paths.filter((path) => existsSync(path))];
    }),
  );
}

/** The modules that import themselves through others. */
function circles(imports: Map<string, string[]>): string[] {
  const reached = (from: string, seen = new Set<string>()): Set<string> => {
    for (const next of imports.get(from) ?? []) {
      if (!seen.has(next)) reached(next, seen.add(next));
    }
    return seen;
  };
  return [...imports.keys()].filter((file) => reached(file).has(file));
}

test("a circle is found", () => {
  expect(circles(new Map([["a", ["b"]], ["b", ["c"]], ["c", ["b"]]]))).toEqual(["b", "c"]);
});

test("no module of the page imports itself through others", () => {
  const imports = importsOf(SOURCE);
  expect(imports.get(join(SOURCE, "main.ts"))).toContain(join(SOURCE, "engines", "load.ts"));
  expect(imports.get(join(SOURCE, "engines", "load.ts"))).toContain(join(SOURCE, "engines", "onnx.ts"));
  expect(circles(imports)).toEqual([]);
});
