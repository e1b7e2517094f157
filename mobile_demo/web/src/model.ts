// The files of one model: which there are, how they are fetched and checked, and what they compute.

import type { Runner, Tensors } from "./engines/engine";
import { inputsOf, outputsOf } from "./engines/engine";
import { loadEngine } from "./engines/load";
import type { Condition, Format, GraphName, Manifest } from "./manifest";
import { FileError, GRAPHS, errorOf, isTFLite, readManifest } from "./manifest";
import { draw } from "./random";

export interface ModelFile {
  name: string;
  graph: GraphName;
  format: Format;
  precision: string;
  bytes: number;
  sha256: string;
  url: string;
}

/** The files of one model, as the build found them in a folder. */
export interface Bundle {
  /** The same for every link to this model. */
  id: string;
  /** Where the files are, from the root of the project, if they are in it. */
  folder?: string | undefined;
  /** Whether it makes music; else pictures. */
  music: boolean;
  /** Whether it makes rows of a table. */
  table?: boolean | undefined;
  /** Whether it scores windows of a series. */
  series?: boolean | undefined;
  files: ModelFile[];
}

/** Classes by index, numbers, or the tokens of steps, by the condition's name. */
export type Choice = Record<string, number | number[]>;

const LARGEST_FILE = 256 * 2 ** 20;
/** Best first: the notes of exact files are the same everywhere. */
const PRECISIONS = ["none", "exact", "float16", "int8"];

export interface Drawing {
  seed: number;
  /** Of the code. */
  temperature: number;
  /** Of the notes. */
  tokenTemperature: number;
}

const GREEDY: Drawing = { seed: 0, temperature: 1, tokenTemperature: 0 };

/** What there is: models.json. */
export async function fetchBundles(): Promise<Bundle[]> {
  const response = await fetch(new URL("models.json", document.baseURI));
  if (!response.ok) throw new Error("models.json is missing: build the page with a folder of models.");
  const bundles: unknown = await response.json();
  if (!Array.isArray(bundles) || !bundles.every((one: Bundle | null) => Array.isArray(one?.files) && one.files.length > 0)) {
    throw new Error("The page was built without models.");
  }
  return bundles as Bundle[];
}

export function filesOf(bundle: Bundle, format: Format, precision: string): ModelFile[] {
  return bundle.files.filter((file) => file.format === format && file.precision === precision);
}

/** One exported file, running. */
export class Graph {
  private constructor(
    readonly file: ModelFile,
    readonly manifest: Manifest,
    private readonly runner: Runner,
  ) {}

  static async open(file: ModelFile, fetched = fetchFile(file)): Promise<Graph> {
    // The runtime and the file come at the same time.
    const [engine, content] = await Promise.all([loadEngine(file.format), fetched]);
    const manifest = readManifest(content, file.name);
    if (manifest.graph !== file.graph || isTFLite(content) !== (file.format === "tflite")) {
      throw new FileError(`${file.name} holds the graph “${manifest.graph}”: its name says another.`);
    }
    let runner: Runner | null = null;
    try {
      runner = await engine.load(content, manifest);
      const graph = new Graph(file, manifest, runner);
      await graph.warmUp();
      return graph;
    } catch (err) {
      await runner?.dispose();
      if (err instanceof FileError) throw err;
      throw new FileError(`${file.name} does not run in ${engine.name}: ${oneLine(err)}`);
    }
  }

  async run(inputs: Tensors, rows: number): Promise<Tensors<Float32Array>> {
    const outputs = await this.runner.run(inputs, rows);
    for (const [name, size] of Object.entries(outputsOf(this.manifest))) {
      if (outputs[name]?.length !== size * rows) {
        throw new FileError(`The manifest of ${this.file.name} does not match its graph.`);
      }
    }
    return outputs;
  }

  dispose(): Promise<void> {
    return this.runner.dispose();
  }

  /** The first run is slow, and tells whether the manifest is that of the graph. */
  private async warmUp(): Promise<void> {
    const inputs: Tensors = {};
    for (const { name, shape, kind } of inputsOf(this.manifest)) {
      const size = shape.reduce((product, n) => product * n, 1);
      inputs[name] = kind === "int32" ? new Int32Array(size) : new Float32Array(size);
    }
    const outputs = await this.run(inputs, 1);
    if (Object.values(outputs).some((values) => !values.every(Number.isFinite))) {
      throw new FileError(`${this.file.name} makes NaN or infinity: it is damaged, export it again.`);
    }
  }

  /** Run the golden sample of the manifest: the largest error, and whether the codes are equal. */
  async selfTest(): Promise<Proof> {
    const { golden, latentDim, graph, standardNormal } = this.manifest;
    const { rows, values } = golden;
    const inputs: Tensors = {};
    for (const { name, batched, kind } of inputsOf(this.manifest)) {
      if (!batched) continue;
      const given = values[name];
      if (!given) throw new FileError(`The golden sample of ${this.file.name} is damaged.`);
      inputs[name] = kind === "int32" ? Int32Array.from(given) : Float32Array.from(given);
    }
    // Codes of another prior are not drawn here: a decoder's are taken as they are, and those that
    // a sampler gives are compared like its other outputs.
    const drawn = standardNormal ? draw(golden.seed, rows, latentDim, golden.temperature) : null;
    const outputs = await this.run({ ...inputs, ...drawing(golden) }, rows);
    let sameCodes: boolean | null = null;
    if (drawn && (graph === "decoder" || graph === "sampler")) {
      const expected = values.z;
      const made = graph === "sampler" ? outputs.z! : drawn;
      sameCodes = expected?.length === made.length && made.every((z, i) => z === Math.fround(expected[i]!) && z === drawn[i]);
    }
    let [error, bound] = [0, 0];
    for (const name of Object.keys(outputsOf(this.manifest))) {
      const found = errorOf(golden, name, outputs[name]!);
      if (found === null) throw new FileError(`The golden sample of ${this.file.name} is damaged.`);
      error = Math.max(error, found);
      // Of numbers in units, the last bit is the runtime's.
      bound = this.manifest.table || this.manifest.series ? Math.max(golden.tolerance, 1e-6) : golden.tolerance;
    }
    return { graph, error, bound, sameCodes, passed: error <= bound && sameCodes !== false };
  }
}

export interface Proof {
  graph: GraphName;
  /** Largest error, over the largest value, or what it is a sum of, where that is above 1. */
  error: number;
  bound: number;
  sameCodes: boolean | null;
  passed: boolean;
}

/** The files of one format and precision, each opened when it is first used. */
export class Model {
  private readonly opened = new Map<GraphName, Promise<Graph>>();
  private readonly fetched = new Map<GraphName, Promise<Uint8Array>>();

  private constructor(
    readonly id: string,
    readonly folder: string | undefined,
    readonly files: ModelFile[],
    /** Of the decoder, or of whatever stands in for it. */
    readonly manifest: Manifest,
    readonly generator: Graph,
  ) {}

  static async open(bundle: Bundle, format: Format, precision: string): Promise<Model> {
    const files = filesOf(bundle, format, precision);
    // Exact rows are scored in floats.
    const scorer = bundle.files.find((one) => one.format === format && one.graph === "scorer");
    if (bundle.table && scorer && !files.some(({ graph }) => graph === "scorer")) files.push(scorer);
    // Music is sampled first, and decoded only on the way between two pieces; rows are sampled.
    // A series is scored.
    const order = bundle.series ? ["scorer"] : bundle.music || bundle.table ? ["sampler", "decoder"] : ["decoder", "sampler"];
    const [file] = order.flatMap((name) => files.find(({ graph }) => graph === name) ?? []);
    if (!file) throw new FileError(`There is no ${order[0]} of this precision for ${format}.`);
    // The first view needs the encoder next; what is wrong with it is said there.
    const encoderFile = files.find(({ graph }) => graph === "encoder");
    const encoder = encoderFile && fetchFile(encoderFile);
    encoder?.catch(() => undefined);
    const generator = await Graph.open(file);
    const model = new Model(bundle.id, bundle.folder, files, generator.manifest, generator);
    model.opened.set(file.graph, Promise.resolve(generator));
    if (encoder) model.fetched.set("encoder", encoder);
    return model;
  }

  get format(): Format {
    return this.generator.file.format;
  }

  get precision(): string {
    return this.generator.file.precision;
  }

  /** The file that samples are drawn from, from the root of the project. */
  get path(): string {
    const graph = this.manifest.standardNormal ? "decoder" : "sampler";
    const { name } = this.files.find((file) => file.graph === graph) ?? this.generator.file;
    return this.folder ? `${this.folder}/${name}` : name;
  }

  get bytes(): number {
    return this.files.reduce((sum, file) => sum + file.bytes, 0);
  }

  has(graph: GraphName): boolean {
    return this.files.some((file) => file.graph === graph);
  }

  graph(name: GraphName): Promise<Graph> {
    let opening = this.opened.get(name);
    if (!opening) {
      const file = this.files.find(({ graph }) => graph === name);
      if (!file) return Promise.reject(new FileError(`This model has no ${name}.`));
      opening = Graph.open(file, this.fetched.get(name));
      this.fetched.delete(name);
      this.opened.set(name, opening);
      // A graph that could not be opened may be asked for again.
      opening.catch(() => this.opened.delete(name));
    }
    return opening;
  }

  /** Images, or the tokens of music, whose notes are drawn. */
  async decode(z: Float32Array, choices: Choice[], drawn: Drawing = GREEDY): Promise<Float32Array> {
    const graph = await this.graph("decoder");
    const inputs = { z, ...conditionInputs(graph.manifest.conditions, choices), ...drawing(drawn) };
    return (await graph.run(inputs, choices.length)).x!;
  }

  /** The posterior mean of each row. */
  async encode(x: Float32Array, choices: Choice[]): Promise<Float32Array> {
    const graph = await this.graph("encoder");
    const inputs = { x, ...conditionInputs(graph.manifest.conditions, choices) };
    const outputs = await graph.run(inputs, choices.length);
    return (outputs.z_mean ?? outputs.z)!;
  }

  async score(x: Float32Array, choices: Choice[]): Promise<{ score: Float32Array; x: Float32Array; manifest: Manifest }> {
    const graph = await this.graph("scorer");
    const inputs = { x, ...conditionInputs(graph.manifest.conditions, choices) };
    const outputs = await graph.run(inputs, choices.length);
    return { score: outputs.score!, x: outputs.x_reconstructed!, manifest: graph.manifest };
  }

  /** Scores of windows of a series, what their values add, and what the model makes of them. */
  async scoreWindows(x: Float32Array, choices: Choice[]): Promise<Tensors<Float32Array>> {
    const graph = await this.graph("scorer");
    return graph.run({ x, ...conditionInputs(graph.manifest.conditions, choices) }, choices.length);
  }

  /** Scores of rows of a table, by column: inputs as the scorer takes them. */
  async scoreRows(columns: Tensors, rows: number): Promise<Tensors<Float32Array>> {
    return (await this.graph("scorer")).run(columns, rows);
  }

  /** The samples of a seed, as `model.sample` gives them: example k is row k. */
  async sample(choices: Choice[], seed: number, temperature: number): Promise<Float32Array> {
    const rows = choices.length;
    if (this.has("decoder") && this.manifest.standardNormal) {
      return this.decode(draw(seed, rows, this.manifest.latentDim, temperature), choices);
    }
    if (!this.has("sampler")) {
      throw new FileError(
        `This page does not draw from the prior of ${this.generator.file.name} itself. Add its sampler: python -m export --graph decoder,sampler.`,
      );
    }
    return (await this.draw(choices, { seed, temperature, tokenTemperature: 1 })).x!;
  }

  /** What the sampler draws, and from which codes. */
  async draw(choices: Choice[], drawn: Drawing): Promise<Tensors<Float32Array>> {
    const sampler = await this.graph("sampler");
    const rows = choices.length;
    const index = Int32Array.from({ length: rows }, (_, i) => i);
    const inputs = { index, ...conditionInputs(this.manifest.conditions, choices), ...drawing(drawn) };
    return sampler.run(inputs, rows);
  }

  async dispose(): Promise<void> {
    const graphs = await Promise.allSettled(this.opened.values());
    this.opened.clear();
    for (const graph of graphs) if (graph.status === "fulfilled") await graph.value.dispose();
  }
}

export function formatsOf(bundle: Bundle): Format[] {
  return (["tflite", "onnx"] as const).filter((format) => bundle.files.some((file) => file.format === format));
}

export function precisionsOf(bundle: Bundle, format: Format): string[] {
  const graphs = bundle.series ? ["scorer"] : ["decoder", "sampler"];
  const generators = bundle.files.filter((f) => f.format === format && graphs.includes(f.graph));
  return PRECISIONS.filter((name) => generators.some(({ precision }) => precision === name));
}

/** The condition whose classes are the buttons: `label`, or the first that has classes. */
export function mainCondition(manifest: Manifest): Condition | null {
  const categorical = manifest.conditions.filter(({ kind }) => kind === "categorical");
  return categorical.find(({ name }) => name === "label") ?? categorical[0] ?? null;
}

/** A number to a hundredth of its range at least. */
export function rounded(value: number, [low, high]: [number, number]): number {
  const step = 10 ** (Math.floor(Math.log10(high - low)) - 2);
  const near = Number((Math.round(value / step) * step).toPrecision(12));
  return Math.min(Math.max(near, low), high);
}

/** The names of the classes of a condition, without groups of them. */
export function classNames(condition: Condition): string[] {
  return condition.names.slice(0, condition.leaves ?? condition.size);
}

/** The names of the classes that pictures are of, if there are classes. */
export function wantedNames(manifest: Manifest): string[] | undefined {
  const main = mainCondition(manifest);
  return main ? classNames(main) : undefined;
}

/** What stands for a tag of which nothing is known; 1 is one that is there, 0 one that is not. */
export const UNKNOWN_TAG = 2;

/** The first class for each condition, unknown tags, and for numbers the middle of their range, or 0. */
export function defaultChoice(manifest: Manifest): Choice {
  return Object.fromEntries(
    manifest.conditions.map(({ name, kind, size, ranges }) => {
      const middle = ranges?.map((range) => rounded((range[0] + range[1]) / 2, range));
      const filled = Array<number>(size).fill(kind === "multi_label" ? UNKNOWN_TAG : 0);
      return [name, kind === "categorical" ? 0 : (middle ?? filled)];
    }),
  );
}

export function conditionInputs(conditions: Condition[], choices: Choice[]): Tensors {
  const inputs: Tensors = {};
  for (const { name, kind } of conditions) {
    const values = choices.flatMap((choice) => choice[name] ?? 0);
    inputs[name] = kind === "continuous" ? Float32Array.from(values) : Int32Array.from(values);
  }
  return inputs;
}

function drawing({ seed, temperature, tokenTemperature }: Drawing): Tensors {
  return {
    seed: Int32Array.of(seed),
    temperature: Float32Array.of(temperature),
    token_temperature: Float32Array.of(tokenTemperature),
  };
}

async function fetchFile(file: ModelFile): Promise<Uint8Array> {
  if (!GRAPHS.includes(file.graph) || !(file.bytes <= LARGEST_FILE)) {
    throw new FileError(`${file.name} is too large to be opened here.`);
  }
  let response: Response;
  try {
    response = await fetch(new URL(file.url, document.baseURI));
  } catch {
    throw new FileError(`${file.name} could not be fetched: there is no connection, and it is not kept on this device.`);
  }
  if (!response.ok) throw new FileError(`${file.name} could not be fetched: the server said ${response.status}.`);
  const content = new Uint8Array(await response.arrayBuffer());
  if (content.length !== file.bytes) {
    throw new FileError(`${file.name} is damaged or cut off: ${content.length} of ${file.bytes} bytes came.`);
  }
  // Browsers have this on https and localhost only.
  if (globalThis.crypto?.subtle) {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
    const text = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (text !== file.sha256) throw new FileError(`${file.name} is damaged: its checksum is another.`);
  }
  return content;
}

export function oneLine(err: unknown): string {
  const text = err instanceof Error ? err.message : String(err);
  const line = text.replace(/[\p{C}\s]+/gu, " ").trim();
  return line.length > 160 ? `${line.slice(0, 160)}…` : line || "no reason given";
}
