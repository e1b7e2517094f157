// What a model file says about itself: read out of a TFLite flatbuffer or an ONNX protobuf, without
// a runtime. A file is untrusted: every position is checked against its size, and every value that
// the page uses against what it can be.

export const SCHEMA = 1;
export const GRAPHS = ["decoder", "encoder", "sampler", "scorer"] as const;
export type GraphName = (typeof GRAPHS)[number];
export type Format = "tflite" | "onnx";

const KEY = "keras_vae";
const MOST_VALUES = 2 ** 22;
const MOST_DIMENSIONS = 4096;
const MOST_CLASSES = 1000;
const MOST_VOICES = 16;

export interface Condition {
  name: string;
  kind: "categorical" | "continuous" | "multi_label" | "sequence";
  /** Number of classes, of numbers, of tags, or of steps. */
  size: number;
  /** How many of the classes are no groups of others, where there are groups: the first ones. */
  leaves?: number;
  /** Class names; empty for a continuous condition. */
  names: string[];
  /** Between which numbers the model was trained, of each entry. */
  ranges?: [low: number, high: number][];
  unit?: string;
  /** Whether numbers may be NaN, unknown. */
  unknown?: boolean;
}

export interface Golden {
  seed: number;
  temperature: number;
  /** Of the notes; 1 in files that have none. */
  tokenTemperature: number;
  tolerance: number;
  /** Inputs and outputs by name, row after row. */
  values: Record<string, Float64Array>;
  /** How large what an output is a sum of is, by name; empty in older files. */
  magnitudes: Record<string, number>;
  rows: number;
}

/** A plane through the latent space: the point (u, v) of a square from -1 to 1 is origin + u x + v y. */
export interface LatentMap {
  origin: Float64Array;
  x: Float64Array;
  y: Float64Array;
}

/** How tokens stand for notes: 0 for a rest, then the pitches from `low` to `high`. */
export interface Notes {
  low: number;
  high: number;
  /** The voices that the model makes. */
  voices: string[];
  /** The voice that a condition gives, by the condition's name. */
  given: Record<string, string>;
  steps: number;
  stepsPerBeat: number;
  /** Whether the pitches follow once more, for notes struck again. */
  repeats: boolean;
}

/** A column of a table: a number in units, or one of some names. */
export interface Column {
  name: string;
  /** What the graph calls it. */
  port: string;
  /** Empty of a number. */
  names: string[];
  low: number;
  high: number;
  whole: boolean;
  unit: string;
}

export interface Table {
  /** In the table's order, conditions among them. */
  columns: Column[];
}

/** Windows of a series of sensors, in units. */
export interface Series {
  window: number;
  stride: number;
  channels: { name: string; unit: string }[];
}

/** What normal examples score: sorted scores, and the share that scores as high as each. */
export interface Calibration {
  groups: { scores: number[]; pValues: number[] }[];
  falseAlarms: number;
  condition: string | null;
  /** The group of each class of the condition, and of unknown. */
  groupOfClass: number[];
}

export interface Manifest {
  graph: GraphName;
  model: string;
  latentDim: number;
  height: number;
  width: number;
  channels: number;
  dataShape: number[];
  dataRange: [number, number];
  /** Black and white of what the model makes. */
  range: [number, number];
  conditions: Condition[];
  /** By how much the file sharpens its conditions; 1 where it does not. */
  guidance: number;
  standardNormal: boolean;
  quantization: string;
  parameters: number;
  /** Name of the training set, where it is known. */
  data: string | null;
  map: LatentMap | null;
  /** Percentiles 0 to 100 of the score over held-out examples. */
  scores: Float64Array | null;
  /** What the data are, where they are music and no picture. */
  notes: Notes | null;
  /** What they are, where they are rows of a table. */
  table: Table | null;
  /** What they are, where they are windows of a series. */
  series: Series | null;
  calibration: Calibration | null;
  golden: Golden;
}

/** Something wrong with a file, in words for a person. */
export class FileError extends Error {
  override name = "FileError";
}

export function readManifest(file: Uint8Array, fileName: string): Manifest {
  const text = isTFLite(file) ? tfliteMetadata(file, fileName) : onnxMetadata(file, fileName);
  if (text === null) {
    throw new FileError(`${fileName} holds no keras_vae manifest. Export it with python -m export.`);
  }
  let content: unknown;
  try {
    content = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(text));
  } catch {
    throw new FileError(`The manifest of ${fileName} is damaged: it is no JSON.`);
  }
  return checkManifest(content, fileName);
}

export function checkManifest(content: unknown, fileName: string): Manifest {
  const fail = (what: string): never => {
    throw new FileError(`The manifest of ${fileName} is damaged: ${what}.`);
  };
  if (!isObject(content)) return fail("it is no object");
  if (content.schema !== SCHEMA) {
    throw new FileError(
      typeof content.schema === "number" && content.schema > SCHEMA
        ? `${fileName} is of schema ${content.schema}, and this page reads ${SCHEMA}. Take the page of ${writer(content.versions)} or newer, or export the model again.`
        : `The manifest of ${fileName} is damaged: schema.`,
    );
  }
  const graph = GRAPHS.find((name) => name === content.graph) ?? fail("graph");
  const latentDim = isSize(content.latent_dim, MOST_DIMENSIONS) ? content.latent_dim : fail("latent_dim");
  const dataShape = numbers(content.data_shape);
  if (!dataShape || dataShape.length === 0 || !dataShape.every((n) => isSize(n, MOST_VALUES))) {
    return fail("data_shape");
  }
  const isTable = isObject(content.data) && content.data.kind === "table";
  const [height = 0, width = 0, channels = 1] = isTable ? [1, 1] : dataShape;
  const notes = isObject(content.data) && content.data.kind === "notes" ? notesOf(content.data, dataShape) ?? fail("data") : null;
  const table = isObject(content.data) && content.data.kind === "table" ? tableOf(content.data) ?? fail("data") : null;
  const series = isObject(content.data) && content.data.kind === "series" ? seriesOf(content.data, dataShape) ?? fail("data") : null;
  if (series || table) {
    if (table && dataShape.length !== 1) return fail("data_shape");
  } else if (dataShape.length < 2 || dataShape.length > 3 || (channels !== 1 && channels !== 3)) {
    throw new FileError(`${fileName} makes data of the shape ${dataShape.join(" × ")}: no picture.`);
  }
  if (height * width * channels > MOST_VALUES) return fail("data_shape");
  const dataRange = pair(content.data_range ?? [0, 1]) ?? fail("data_range");
  // Older files do not say how to draw what has no range; most are of data from 0 to 1.
  const range = pair(content.range ?? dataRange) ?? fail("range");
  if (!Array.isArray(content.conditions) || content.conditions.length > 16) return fail("conditions");
  const conditions = content.conditions.map((item) => condition(item, notes) ?? fail("conditions"));
  const names = new Set(conditions.map(({ name }) => name));
  if (notes && Object.keys(notes.given).some((name) => !names.has(name))) return fail("data");
  const quantization = isText(content.quantization) ? content.quantization : fail("quantization");
  const golden = checkGolden(content.golden, conditions, table) ?? fail("golden");
  const map = isObject(content.map) ? latentMap(content.map, latentDim) ?? fail("map") : null;
  const scores = numbers(content.scores);
  if (scores && (scores.length !== 101 || scores.some((s, i) => i > 0 && s < scores[i - 1]!))) {
    return fail("scores");
  }
  const calibration = isObject(content.calibration) ? calibrationOf(content.calibration, conditions) ?? fail("calibration") : null;
  const training = isObject(content.training) ? content.training : {};
  return {
    graph,
    model: isText(content.model) ? content.model : fail("model"),
    latentDim,
    height,
    width,
    channels,
    dataShape,
    dataRange,
    range,
    conditions,
    guidance: isObject(content.prior) && typeof content.prior.guidance === "number" ? content.prior.guidance : 1,
    standardNormal: isObject(content.prior) && content.prior.kind === "standard_normal",
    quantization,
    parameters: isSize(content.parameters, 2 ** 40) ? content.parameters : 0,
    data: isText(training.data) ? training.data : null,
    map,
    scores: scores && Float64Array.from(scores),
    notes,
    table,
    series,
    calibration,
    golden,
  };
}

/** The package's version that wrote a manifest, as far as it can be told. */
function writer(versions: unknown): string {
  const version = isObject(versions) ? versions.keras_vae : null;
  const known = isText(version) && /^[0-9][0-9a-z.]{0,39}$/.test(version);
  return known ? `keras-vae ${version}` : "the keras-vae that wrote it";
}

function notesOf(item: Record<string, unknown>, [steps, voices, ...rest]: number[]): Notes | null {
  const { low, high } = item;
  if (!isSize(low, 127, 0) || !isSize(high, 127, 0) || low > high || !isSize(item.steps_per_beat, 96)) return null;
  const names: unknown = item.voices;
  if ((item.steps ?? steps) !== steps || !Array.isArray(names) || names.length !== voices || rest.length) return null;
  const given = item.given ?? {};
  if (voices > MOST_VOICES || steps! > MOST_DIMENSIONS || !names.every(isText) || !isObject(given)) return null;
  if (!Object.values(given).every(isText) || typeof item.repeats !== "boolean") return null;
  return {
    low,
    high,
    voices: names,
    given: given as Record<string, string>,
    steps: steps!,
    stepsPerBeat: item.steps_per_beat,
    repeats: item.repeats,
  };
}

function seriesOf(item: Record<string, unknown>, [steps, count, ...rest]: number[]): Series | null {
  const { window, stride, channels } = item;
  if (window !== steps || !isSize(window, MOST_DIMENSIONS, 2) || !isSize(stride, 2 ** 20) || rest.length) return null;
  if (!Array.isArray(channels) || channels.length !== count) return null;
  const made = channels.map((one: unknown) => (isObject(one) && isText(one.name) ? { name: one.name, unit: isText(one.unit) ? one.unit : "" } : null));
  return made.every((one) => one !== null) ? { window, stride, channels: made } : null;
}

function calibrationOf(item: Record<string, unknown>, conditions: Condition[]): Calibration | null {
  const { groups, false_alarms: falseAlarms } = item;
  if (!Array.isArray(groups) || groups.length === 0 || groups.length > MOST_CLASSES) return null;
  if (!isNumber(falseAlarms) || !(falseAlarms > 0 && falseAlarms < 1)) return null;
  const made = groups.map((one: unknown) => {
    if (!isObject(one)) return null;
    const [scores, pValues] = [numbers(one.scores), numbers(one.p_values)];
    if (!scores || !pValues || scores.length < 2 || scores.length !== pValues.length || scores.length > MOST_DIMENSIONS) return null;
    if (scores.some((score, i) => i > 0 && score <= scores[i - 1]!)) return null;
    if (pValues.some((p, i) => !(p > 0 && p <= 1) || (i > 0 && p > pValues[i - 1]!))) return null;
    return { scores: Array.from(scores), pValues: Array.from(pValues) };
  });
  if (!made.every((one) => one !== null)) return null;
  const condition = item.condition ?? null;
  if (condition === null) return { groups: made, falseAlarms, condition: null, groupOfClass: [] };
  const own = conditions.find(({ name }) => name === condition);
  const groupOfClass = numbers(item.group_of_class);
  if (!own || !groupOfClass || groupOfClass.length !== own.size + 1) return null;
  if (!Array.from(groupOfClass).every((at) => isSize(at, made.length - 1, 0))) return null;
  return { groups: made, falseAlarms, condition: own.name, groupOfClass: Array.from(groupOfClass) };
}

/** The columns of a table, as far as they can be shown. */
function tableOf(item: Record<string, unknown>): Table | null {
  if (!isObject(item.columns)) return null;
  const entries = Object.entries(item.columns);
  if (entries.length === 0 || entries.length > MOST_DIMENSIONS) return null;
  const columns: Column[] = [];
  for (const [name, kind] of entries) {
    if (!isText(name) || !isObject(kind) || !isText(kind.port) || !/^\w{1,200}$/.test(kind.port)) return null;
    const names: unknown = kind.names ?? [];
    if (!Array.isArray(names) || names.length > MOST_CLASSES || !names.every((one) => typeof one === "string" && one.length <= 200)) return null;
    const [low, high] = names.length ? [0, names.length - 1] : kind.kind === "count" ? [0, kind.most] : (numbers(kind.bounds) ?? []);
    if (!isNumber(low) || !isNumber(high) || !(low < high)) return null;
    const whole = kind.kind === "count" || kind.integer === true;
    columns.push({ name, port: kind.port, names, low, high, whole, unit: isText(kind.unit) ? kind.unit : "" });
  }
  return new Set(columns.map(({ port }) => port)).size === columns.length ? { columns } : null;
}

function condition(item: unknown, notes: Notes | null): Condition | null {
  if (!isObject(item) || !isText(item.name)) return null;
  if (["x", "z", "seed", "temperature", "token_temperature"].includes(item.name)) return null;
  if (notes && item.kind === "sequence") return { name: item.name, kind: "sequence", size: notes.steps, names: [] };
  if (!isSize(item.size, MOST_CLASSES)) return null;
  if (item.kind === "continuous") {
    const made: Condition = { name: item.name, kind: "continuous", size: item.size, names: [] };
    if (item.range !== undefined) {
      const ranges = rangesOf(item.range, item.size);
      if (!ranges) return null;
      made.ranges = ranges;
    }
    if (isText(item.unit)) made.unit = item.unit;
    if (item.unknown === true) made.unknown = true;
    return made;
  }
  const names: unknown = item.names;
  if ((item.kind !== "categorical" && item.kind !== "multi_label") || !Array.isArray(names)) return null;
  if (names.length !== item.size || !names.every(isText)) return null;
  if (item.num_leaves === undefined) return { name: item.name, kind: item.kind, size: item.size, names };
  return isSize(item.num_leaves, item.size) ? { name: item.name, kind: item.kind, size: item.size, leaves: item.num_leaves, names } : null;
}

function rangesOf(item: unknown, size: number): [number, number][] | null {
  if (!Array.isArray(item) || item.length !== size) return null;
  const pairs = item.map((pair: unknown) => {
    const [low, high, ...rest] = numbers(pair) ?? [];
    return isNumber(low) && isNumber(high) && low < high && rest.length === 0 ? ([low, high] as [number, number]) : null;
  });
  return pairs.every((pair) => pair !== null) ? pairs : null;
}

function checkGolden(item: unknown, conditions: Condition[], table: Table | null): Golden | null {
  if (!isObject(item) || !isObject(item.conditions)) return null;
  const { seed, temperature, tolerance } = item;
  const tokenTemperature = item.token_temperature ?? 1;
  if (!isSize(seed, 2 ** 31 - 1, 0) || !isNumber(temperature) || !isNumber(tolerance)) return null;
  if (!isNumber(tokenTemperature) || tokenTemperature < 0) return null;
  if (temperature < 0 || tolerance < 0 || tolerance > 0.05) return null;
  const values: Record<string, Float64Array> = {};
  let rows = 0;
  const given = { ...item, ...item.conditions } as Record<string, unknown>;
  const names = conditions.map(({ name }) => name);
  const columns = table?.columns.flatMap(({ port }) => [port, `${port}_reconstructed`]) ?? [];
  const known = [...new Set([...names, ...columns]), "x", "z", "codes", "z_mean", "z_log_var", "score", "x_reconstructed", "index"];
  for (const name of known) {
    const value = given[name];
    if (value === undefined) continue;
    if (!Array.isArray(value) || value.length === 0 || value.length > 64) return null;
    if (rows && value.length !== rows) return null;
    rows = value.length;
    // What is missing in a row, or unknown.
    const mayLack = table !== null || conditions.some((one) => one.name === name && one.unknown === true);
    const flat = value.flat(1).map((one: unknown) => (mayLack && one === null ? NaN : one)) as number[];
    if (mayLack && flat.length <= MOST_VALUES && flat.every((one) => isNumber(one) || Number.isNaN(one))) {
      values[name] = Float64Array.from(flat);
      continue;
    }
    if (flat.length > MOST_VALUES || !flat.every(isNumber)) return null;
    values[name] = Float64Array.from(flat);
  }
  const magnitudes = item.magnitudes ?? {};
  if (!isObject(magnitudes) || !hasSizes(magnitudes)) return null;
  return rows ? { seed, temperature, tokenTemperature, tolerance, values, magnitudes, rows } : null;
}

/**
 * The largest error of an output against the golden sample, over the largest value, or what it is a
 * sum of, where that is above 1; null where the sample is damaged.
 */
export function errorOf({ values, magnitudes }: Golden, name: string, made: ArrayLike<number>): number | null {
  const expected = values[name];
  if (expected?.length !== made.length) return null;
  const size = expected.reduce((most, value) => Math.max(most, Math.abs(value)), Math.max(1, magnitudes[name] ?? 0));
  return expected.reduce((worst, value, i) => Math.max(worst, Math.abs(made[i]! - value)), 0) / size;
}

function latentMap(item: Record<string, unknown>, latentDim: number): LatentMap | null {
  const [origin, x, y] = [numbers(item.origin), numbers(item.x), numbers(item.y)];
  if (!origin || !x || !y) return null;
  if (![origin, x, y].every((list) => list.length === latentDim)) return null;
  return { origin: Float64Array.from(origin), x: Float64Array.from(x), y: Float64Array.from(y) };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

function hasSizes(item: Record<string, unknown>): item is Record<string, number> {
  return Object.values(item).every((value) => isNumber(value) && value >= 0);
}

function isSize(value: unknown, most: number, least = 1): value is number {
  return Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most;
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value.length > 0 && value.length <= 200;
}

/** Two numbers in order. */
function pair(value: unknown): [number, number] | null {
  const [low, high, ...rest] = numbers(value) ?? [];
  return low !== undefined && high !== undefined && low < high && rest.length === 0 ? [low, high] : null;
}

function numbers(value: unknown): number[] | null {
  return Array.isArray(value) && value.every(isNumber) ? value : null;
}

// TFLite: a table begins with the distance to its list of fields; field numbers are those of the
// schema, tensorflow/compiler/mlir/lite/schema/schema.fbs.

export function isTFLite(file: Uint8Array): boolean {
  return file.length >= 8 && latin1(file.subarray(4, 8)) === "TFL3";
}

function tfliteMetadata(file: Uint8Array, fileName: string): Uint8Array | null {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const checked = (place: number, size: number): number => {
    if (!(place >= 0 && place + size <= file.length)) {
      throw new FileError(`${fileName} is damaged or cut off.`);
    }
    return place;
  };
  const uint32 = (place: number) => view.getUint32(checked(place, 4), true);
  const uint16 = (place: number) => view.getUint16(checked(place, 2), true);
  const follow = (place: number) => place + uint32(place);
  const field = (table: number, number: number): number | null => {
    const fields = table - view.getInt32(checked(table, 4), true);
    if (4 + 2 * number >= uint16(fields)) return null;
    const offset = uint16(fields + 4 + 2 * number);
    return offset ? table + offset : null;
  };
  const vector = (table: number, number: number, size: number): [number, number] => {
    const place = field(table, number);
    if (place === null) return [0, 0];
    const start = follow(place);
    const count = uint32(start);
    checked(start + 4, count * size);
    return [start + 4, count];
  };
  const bytes = (table: number, number: number): Uint8Array => {
    const [start, count] = vector(table, number, 1);
    return file.subarray(start, start + count);
  };

  const root = follow(0);
  const [buffers, bufferCount] = vector(root, 4, 4);
  const [entries, entryCount] = vector(root, 6, 4);
  for (let i = 0; i < entryCount; i++) {
    const entry = follow(entries + 4 * i);
    if (latin1(bytes(entry, 0)) !== KEY) continue;
    const place = field(entry, 1);
    const index = place === null ? 0 : uint32(place);
    return index < bufferCount ? bytes(follow(buffers + 4 * index), 0) : null;
  }
  return null;
}

// ONNX: a message is a list of (number, kind, content); the model's metadata_props are number 14,
// each a message with a key, 1, and a value, 2 (onnx/onnx.proto3).

function onnxMetadata(file: Uint8Array, fileName: string): Uint8Array | null {
  const damaged = (): never => {
    throw new FileError(`${fileName} is neither a TFLite nor an ONNX file, or is cut off.`);
  };
  function* fields(message: Uint8Array): Generator<[number, Uint8Array]> {
    let place = 0;
    const varint = (): number => {
      let value = 0;
      for (let shift = 0; shift < 70; shift += 7) {
        const byte = message[place++] ?? damaged();
        value += (byte & 127) * 2 ** shift;
        if (byte < 128) return value;
      }
      return damaged();
    };
    while (place < message.length) {
      const tag = varint();
      const [number, kind] = [Math.floor(tag / 8), tag % 8];
      const start = place;
      if (kind === 0) varint();
      else if (kind === 1) place += 8;
      else if (kind === 5) place += 4;
      else if (kind === 2) {
        const size = varint();
        const content = message.subarray(place, place + size);
        if (content.length !== size) damaged();
        place += size;
        yield [number, content];
        continue;
      } else damaged();
      if (place > message.length || number === 0) damaged();
      yield [number, message.subarray(start, place)];
    }
  }
  let found: Uint8Array | null = null;
  let hasGraph = false;
  for (const [number, content] of fields(file)) {
    if (number === 7) hasGraph = true;
    if (number !== 14) continue;
    const entry = new Map(fields(content));
    if (latin1(entry.get(1) ?? new Uint8Array()) === KEY) found = entry.get(2) ?? null;
  }
  if (!hasGraph) damaged();
  return found;
}

function latin1(bytes: Uint8Array): string {
  return bytes.length > 64 ? "" : String.fromCharCode(...bytes);
}
