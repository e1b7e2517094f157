// Readings of sensors: a series read from CSV, its windows, and what share of normal ones scores as high.

import { FileError } from "./manifest";
import type { Calibration, Series } from "./manifest";

const SEPARATORS = [",", ";", "\t", "|"];
const MISSING = new Set(["", "?", "nan", "NaN"]);
const MOST_READINGS = 2 ** 20;

/** Readings of a CSV with a header, channel after channel of a step, in the model's order. */
export function parseReadings(text: string, series: Series, fileName: string): Float32Array {
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/).filter((line) => line.trim() !== "");
  const [first = "", ...rows] = lines;
  const separator = SEPARATORS.reduce((best, one) => (first.split(one).length > first.split(best).length ? one : best));
  const header = cells(first, separator);
  const places = series.channels.map(({ name }) => header.indexOf(name));
  const lacking = series.channels.filter((_, i) => places[i]! < 0).map(({ name }) => name);
  if (lacking.length) throw new FileError(`${fileName} must have a header with ${names(series)}. It lacks ${lacking.join(", ")}.`);
  if (rows.length < series.window) {
    throw new FileError(`${fileName} must have at least ${series.window} readings, a window. It has ${rows.length}.`);
  }
  if (rows.length * places.length > MOST_READINGS) throw new FileError(`${fileName} is too long to be shown here.`);
  const readings = new Float32Array(rows.length * places.length);
  rows.forEach((row, step) => {
    const values = cells(row, separator);
    places.forEach((place, channel) => {
      const value = values[place] ?? "";
      const number = MISSING.has(value) ? NaN : Number(separator === "," ? value : value.replace(",", "."));
      if (Number.isNaN(number) && !MISSING.has(value)) {
        throw new FileError(`${fileName} must hold numbers. ${series.channels[channel]!.name} is “${value.slice(0, 40)}” in line ${step + 2}.`);
      }
      readings[step * places.length + channel] = number;
    });
  });
  return readings;
}

/** The first steps of the windows that lack no reading, at most so many of them, evenly thinned. */
export function windowStarts(readings: Float32Array, { window, stride, channels }: Series, most: number): number[] {
  const steps = readings.length / channels.length;
  const by = stride * Math.max(1, Math.ceil((steps - window + 1) / stride / most));
  const starts: number[] = [];
  for (let start = 0; start + window <= steps; start += by) {
    const part = readings.subarray(start * channels.length, (start + window) * channels.length);
    if (part.every((value) => !Number.isNaN(value))) starts.push(start);
  }
  return starts;
}

/** The share of normal windows that score as high: straight lines between the scores that are kept. */
export function pValue(score: number, calibration: Calibration, group = 0): number {
  const { scores, pValues } = calibration.groups[group]!;
  const after = scores.findIndex((one) => one > score);
  if (after === 0) return pValues[0]!;
  if (after < 0) return pValues[pValues.length - 1]!;
  const along = (score - scores[after - 1]!) / (scores[after]! - scores[after - 1]!);
  return pValues[after - 1]! + along * (pValues[after]! - pValues[after - 1]!);
}

export function names({ channels }: Series): string {
  return channels.map(({ name }) => name).join(", ");
}

function cells(line: string, separator: string): string[] {
  return line.split(separator).map((cell) => cell.trim().replace(/^"(.*)"$/, "$1"));
}
