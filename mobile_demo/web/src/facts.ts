// The line of facts at the foot of the page, and the switches behind it.

import { Choices, el } from "./dom";
import type { Format } from "./manifest";
import type { Bundle, Model, Proof } from "./model";
import { defaultChoice, formatsOf, precisionsOf } from "./model";
import type { Kept } from "./offline";

export const RUNTIMES: Record<Format, string> = { tflite: "LiteRT", onnx: "ONNX Runtime" };
export const PRECISIONS: Record<string, string> = { none: "fp32", exact: "exact", float16: "fp16", int8: "int8" };

const RUNS = 21;
const RUNS_AT_ONCE = 5;
const WARM_UP = 4;

export class Facts {
  private readonly line = el("span", { class: "line" });
  private readonly list = el("dl");
  private readonly runtimes: Choices;
  private readonly precisions: Choices;
  private readonly values = new Map<string, string>();
  private made = "image";

  constructor(element: HTMLElement, private readonly onSwitch: (format: Format, precision: string) => void) {
    this.runtimes = new Choices("Runtime", (value) => this.onSwitch(value as Format, this.precisions.value));
    this.precisions = new Choices("Precision", (value) => this.onSwitch(this.runtimes.value as Format, value));
    element.append(
      el("summary", {}, this.line),
      el("div", { class: "sheet" }, el("div", { class: "switches" }, this.runtimes.element, this.precisions.element), this.list),
    );
    this.set("sent", "0 bytes sent");
  }

  /** The switches, as far as the folder of models has files for them. */
  offer(bundle: Bundle, format: Format, precision: string): void {
    const formats = formatsOf(bundle);
    const all = new Set(formats.flatMap((one) => precisionsOf(bundle, one)));
    const here = precisionsOf(bundle, format);
    this.runtimes.set(formats.map((value) => ({ value, label: RUNTIMES[value] })), format);
    this.precisions.set(
      [...all].map((value) => ({ value, label: PRECISIONS[value] ?? value, disabled: !here.includes(value) })),
      precision,
    );
  }

  show(model: Model): void {
    this.made = kindOf(model);
    this.set("runtime", `${RUNTIMES[model.format]} ${PRECISIONS[model.precision] ?? model.precision}`);
    const { bytes } = model;
    this.set("size", bytes < 1e7 ? `${Math.round(bytes / 1000)} kB` : `${Math.round(bytes / 1e6)} MB`);
    this.set("parameters", `${(model.manifest.parameters / 1000).toFixed(0)} k`);
    const { guidance } = model.manifest;
    this.set("guidance", guidance === 1 ? null : `${Number(guidance.toPrecision(4))}, fixed in the file`);
    this.set("time", null);
    this.set("proof", null);
  }

  time(milliseconds: number): void {
    this.set("time", `${milliseconds < 0.995 ? milliseconds.toFixed(2) : milliseconds.toFixed(1)} ms per ${this.made}`);
  }

  proof(proof: Proof): void {
    this.set("proof", describe(proof));
  }

  kept(kept: Kept): void {
    const words = { "not yet": "being kept …", kept: "ready", "no room": "no room on this device", impossible: "needs https" };
    this.set("offline", words[kept]);
  }

  firstImage(milliseconds: number): void {
    this.set("first", `${(milliseconds / 1000).toFixed(2)} s after opening`);
  }

  private set(name: string, value: string | null): void {
    if (value === null) this.values.delete(name);
    else this.values.set(name, value);
    const short = ["runtime", "time", "size", "sent"].flatMap((key) => this.values.get(key) ?? []);
    this.line.replaceChildren(...short.map((text) => el("span", {}, text.replace(/ per .*/, ""))));
    const titles: [string, string][] = [
      ["time", "Time, median"],
      ["size", "Model files"],
      ["parameters", "Weights"],
      ["guidance", "Guidance"],
      ["sent", "Privacy"],
      ["offline", "Offline"],
      ["first", `First ${this.made}`],
      ["proof", "Self-test"],
    ];
    this.list.replaceChildren(
      ...titles.flatMap(([key, title]) => {
        const text = this.values.get(key);
        return text ? [el("div", { "data-fact": key }, el("dt", {}, title), el("dd", {}, text))] : [];
      }),
    );
  }
}

function kindOf({ manifest }: Model): string {
  if (manifest.series) return "window";
  return manifest.notes ? "piece" : manifest.table ? "row" : "image";
}

export function describe({ passed, error, bound, sameCodes }: Proof): string {
  const codes = sameCodes === null ? "" : sameCodes ? ", codes equal bit for bit" : ", codes DIFFER";
  return `${passed ? "✓" : "✗"} largest error ${error.toExponential(1)} (bound ${bound.toExponential(0)})${codes}`;
}

/** Milliseconds for one image or piece: the median of many, several at a time, for browsers' clocks are coarse. */
export async function measure(model: Model, runs = RUNS, atOnce = RUNS_AT_ONCE): Promise<number> {
  const choice = [defaultChoice(model.manifest)];
  const z = new Float32Array(model.manifest.latentDim);
  const times: number[] = [];
  const { series, golden, dataShape } = model.manifest;
  const size = dataShape.reduce((product, n) => product * n, 1);
  const window = series && Float32Array.from(golden.values.x?.slice(0, size) ?? new Float32Array(size));
  // The first are there to warm up.
  for (let run = -WARM_UP; run < runs; run++) {
    const start = performance.now();
    for (let i = 0; i < atOnce; i++) {
      if (window) await model.scoreWindows(window, choice);
      else if (model.has("decoder")) await model.decode(z, choice);
      else await model.sample(choice, i, 1);
    }
    if (run >= 0) times.push((performance.now() - start) / atOnce);
  }
  return times.sort((a, b) => a - b)[Math.floor(times.length / 2)]!;
}

