// A link to a view: the model, class, numbers, seed, temperature and count, or melody and piece, after the #.

import { SEEDS } from "./random";

export interface Link {
  view: string | null;
  model: string | null;
  /** Class names by condition. */
  classes: Record<string, string>;
  /** Numbers by condition, each NaN where they are unknown. */
  numbers: Record<string, number[]>;
  seed: number | null;
  temperature: number | null;
  count: number | null;
  /** Temperature of the notes of music. */
  tokenTemperature: number | null;
  /** Which piece of the seed, from 1. */
  piece: number | null;
  /** Pitches, 0 for a rest, and how many steps each is long. */
  melody: [pitch: number, length: number][] | null;
}

export const NO_LINK: Link = {
  view: null, model: null, classes: {}, numbers: {}, seed: null, temperature: null, count: null, tokenTemperature: null, piece: null, melody: null,
};
export const HOTTEST = 2;
export const HOTTEST_NOTES = 1.5;
export const MOST_IMAGES = 64;
export const MOST_PIECES = 10;
export const MOST_ROWS = 10_000;
const UNKNOWN = "unknown";

export interface Vocabulary {
  views: string[];
  model: string;
  /** Class names by condition. */
  classes: Record<string, string[]>;
  /** Of conditions that are numbers, how many, and whether they may be unknown. */
  numbers?: Record<string, { size: number; unknown: boolean }>;
  /** How many can be asked for, where it is not so many images. */
  most?: number | undefined;
}

export function formatLink(link: Link): string {
  const parts = new URLSearchParams();
  if (link.view) parts.set("view", link.view);
  if (link.model) parts.set("model", link.model);
  for (const [name, value] of Object.entries(link.classes)) parts.set(`class.${name}`, value);
  for (const [name, values] of Object.entries(link.numbers)) {
    parts.set(`number.${name}`, values.some(Number.isNaN) ? UNKNOWN : values.map((value) => Number(value.toPrecision(6))).join(","));
  }
  if (link.seed !== null) parts.set("seed", String(link.seed));
  if (link.temperature !== null) parts.set("temperature", String(link.temperature));
  if (link.count !== null) parts.set("count", String(link.count));
  if (link.tokenTemperature !== null) parts.set("token_temperature", String(link.tokenTemperature));
  if (link.piece !== null) parts.set("piece", String(link.piece));
  if (link.melody !== null) parts.set("melody", link.melody.map((note) => note.join("x")).join("."));
  return `#${parts.toString()}`;
}

/** What a link asks for, as far as it can be had, and a sentence for each part that cannot. */
export function parseLink(hash: string, vocabulary: Vocabulary): { link: Link; problems: string[] } {
  const parts = new URLSearchParams(hash.slice(0, 4000).replace(/^#/, ""));
  const problems: string[] = [];
  const link: Link = { ...NO_LINK, classes: {}, numbers: {} };

  const view = parts.get("view");
  if (view !== null) {
    if (vocabulary.views.includes(view)) link.view = view;
    else problems.push(`The link asks for the view “${short(view)}”, which this model does not have.`);
  }
  const model = parts.get("model");
  if (model !== null && model !== vocabulary.model) {
    problems.push("The link was made with another model: what it makes will differ.");
  }
  link.model = model === null ? null : vocabulary.model;
  for (const [key, value] of parts) {
    if (!key.startsWith("class.")) continue;
    const name = key.slice("class.".length);
    const names = Object.hasOwn(vocabulary.classes, name) ? vocabulary.classes[name]! : [];
    if (names.includes(value)) link.classes[name] = value;
    else problems.push(`The link asks for the class “${short(value)}”, which this model does not know.`);
  }
  for (const [key, text] of parts) {
    if (!key.startsWith("number.")) continue;
    const name = key.slice("number.".length);
    const kind = vocabulary.numbers && Object.hasOwn(vocabulary.numbers, name) ? vocabulary.numbers[name] : undefined;
    const isUnknown = text === UNKNOWN && kind?.unknown === true;
    const values = isUnknown ? Array<number>(kind.size).fill(NaN) : text.split(",").map(plainNumber);
    if (kind?.size === values.length && (isUnknown || values.every(Number.isFinite))) link.numbers[name] = values;
    else problems.push(`The link asks for “${short(name)}” of “${short(text)}”, which this model cannot have.`);
  }
  link.seed = number(parts.get("seed"), 0, SEEDS - 1, true, "seed", problems);
  link.temperature = number(parts.get("temperature"), 0, HOTTEST, false, "temperature", problems);
  link.count = number(parts.get("count"), 1, vocabulary.most ?? MOST_IMAGES, true, "count", problems);
  link.tokenTemperature = number(parts.get("token_temperature"), 0, HOTTEST_NOTES, false, "token_temperature", problems);
  link.piece = number(parts.get("piece"), 1, MOST_PIECES, true, "piece", problems);
  const melody = parts.get("melody");
  if (melody !== null) {
    const notes = melody.split(".").map((note) => (/^\d{1,3}x\d{1,3}$/.test(note) ? note.split("x").map(Number) : [-1, 0]) as [number, number]);
    if (notes.every(([pitch, length]) => pitch >= 0 && pitch <= 127 && length > 0)) link.melody = notes;
    else problems.push(`The link’s melody must be notes such as 67x4, a pitch from 0 to 127 and its steps, not “${short(melody)}”.`);
  }
  return { link, problems };
}

function number(
  text: string | null,
  least: number,
  most: number,
  whole: boolean,
  name: string,
  problems: string[],
): number | null {
  if (text === null) return null;
  const plain = whole ? /^\d{1,10}$/ : /^\d{1,4}(\.\d{1,6})?$/;
  const value = plain.test(text) ? Number(text) : NaN;
  if (value >= least && value <= most) return value;
  const kind = whole ? "a whole number" : "a number";
  problems.push(`The link’s ${name} must be ${kind} from ${least} to ${most}, not “${short(text)}”.`);
  return null;
}

function plainNumber(text: string): number {
  return /^-?\d{1,12}(\.\d{1,12})?(e[+-]?\d{1,2})?$/.test(text) ? Number(text) : NaN;
}

function short(text: string): string {
  const printable = text.replace(/[\p{C}]/gu, " ");
  return printable.length > 40 ? `${printable.slice(0, 40)}…` : printable;
}
