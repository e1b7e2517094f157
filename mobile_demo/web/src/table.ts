// Rows of a table: what a column's values look like, and the file of many.

import type { Column } from "./manifest";

/** A value of a column, as people read it, with so many digits; nothing of a missing one. */
export function shownValue({ names, whole }: Column, value: number, digits = 7): string {
  if (Number.isNaN(value)) return "";
  if (names.length) return names[value] ?? "";
  // Of float32, seven digits are what a person gave.
  return whole ? String(Math.round(value)) : String(Number(value.toPrecision(digits)));
}

/** Rows as a CSV file, a column of numbers each. */
export function csvOf(columns: Column[], values: ArrayLike<number>[], rows: number): string {
  const lines = [columns.map(({ name }) => cell(name)).join(",")];
  for (let row = 0; row < rows; row++) {
    lines.push(columns.map((column, i) => cell(shownValue(column, values[i]![row]!))).join(","));
  }
  return `${lines.join("\n")}\n`;
}

function cell(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
