// The command line that makes the images of a view from the same file, on a computer.

import type { Condition } from "./manifest";
import { type Choice, UNKNOWN_TAG } from "./model";

export interface Asked {
  /** The exported file, as it is called from the root of the project. */
  file: string;
  conditions: Condition[];
  choice: Choice;
  /** The condition of which every class is asked for, if any. */
  all: string | null;
  count: number;
  seed: number;
  temperature: number;
}

export function commandOf({ file, conditions, choice, all, count, seed, temperature }: Asked): string {
  const words = ["python", "mobile_demo/edge/sample.py", "--model", quoted(file)];
  for (const condition of conditions) {
    const { name, names, kind } = condition;
    if (name === all) continue; // left out, it is every class
    const value = choice[name] ?? 0;
    const row = Array.isArray(value) ? value : null;
    const numbers = row && !row.some(Number.isNaN) ? row.join(",") : null;
    const said = row && kind === "multi_label" ? tagsOf(names, row) : (numbers ?? names[value as number] ?? "unknown");
    words.push(...(name === "label" ? ["--label", quoted(said)] : ["--condition", quoted(`${name}=${said}`)]));
  }
  words.push("--count", String(count), "--seed", String(seed));
  if (temperature !== 1) words.push("--temperature", String(temperature));
  return words.join(" ");
}

/** Tags in words: `red+round`, nothing for none of them, or `unknown`. */
function tagsOf(names: string[], values: number[]): string {
  return values.every((value) => value === UNKNOWN_TAG) ? "unknown" : names.filter((_, i) => values[i] === 1).join("+");
}

/** A word as a shell takes it. */
function quoted(word: string): string {
  return /^[\w.,=/+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
