// A signal, what the model makes of it, and which of its windows are unusual.

import { el, newest } from "../dom";
import type { Manifest, Series } from "../manifest";
import { FileError } from "../manifest";
import type { Model } from "../model";
import { takeDrops } from "../picture";
import { names, pValue, parseReadings, windowStarts } from "../series";
import type { Running, Stage, View } from "../stage";
import { markFirstImage } from "../timing";

const [MOST_WINDOWS, AT_ONCE, MOST_CHANNELS] = [1000, 100, 6];
const [STRIP, LOWEST] = [84, 1e-4];
const LARGEST_FILE = 32 * 2 ** 20;

/** What a scorer says of each window. */
interface Told {
  starts: number[];
  scores: number[];
  pValues: number[];
  /** Of each window, values of all steps and channels. */
  made: Float32Array[];
  added: Float32Array[];
}

export class SensorView implements View {
  readonly name = "sensor";
  readonly label = "Sensor";
  readonly music = false;
  readonly series = true;
  readonly element: HTMLElement;
  private readonly conditions = el("div", { class: "others" });
  private readonly verdict = el("p", { class: "verdict", "aria-live": "polite" }, " ");
  private readonly number = el("p", { class: "status" }, " ");
  private readonly wish = el("p", { class: "wish" });
  private readonly chart = el("canvas", { class: "chart", role: "img" });
  private readonly detail = el("canvas", { class: "chart", role: "img" });
  private readonly caption = el("p", { class: "status" }, " ");
  private readonly place = el("input", { type: "range", min: "0", step: "1", value: "0", "aria-label": "Window" });
  private readonly motion = el("button", { type: "button", class: "quiet", click: () => void this.listen() }, "This phone");
  private running: Running | null = null;
  private readings: Float32Array | null = null;
  private told: Told | null = null;
  private listening: ((event: DeviceMotionEvent) => void) | null = null;
  private readonly update = newest<void>(
    () => this.score(),
    (err) => this.stage.fail(err, this.running?.model),
  );

  constructor(private readonly stage: Stage) {
    const file = el("input", { type: "file", accept: ".csv,text/csv", class: "hidden", tabindex: "-1", "aria-label": "Readings from this device" });
    file.addEventListener("change", () => {
      const [picked] = file.files ?? [];
      if (picked) void this.read(picked);
      file.value = "";
    });
    const pick = el("button", { type: "button", class: "quiet", click: () => file.click() }, "Readings");
    const example = el("button", { type: "button", class: "quiet", click: () => this.example() }, "Example");
    this.place.addEventListener("input", () => this.look());
    addEventListener("resize", () => this.look());
    this.chart.addEventListener("pointerdown", (event) => {
      if (!this.told) return;
      const { left, width } = this.chart.getBoundingClientRect();
      this.place.value = String(Math.round(((event.clientX - left) / width) * (this.told.starts.length - 1)));
      this.look();
    });
    this.element = el(
      "section",
      { class: "view sensor", id: "view-sensor", role: "tabpanel", "aria-labelledby": "tab-sensor" },
      el("div", { class: "intro" }, el("h2", {}, "What is unusual about it?"), this.number),
      this.conditions,
      this.wish,
      this.verdict,
      this.chart,
      el("label", { class: "field wide" }, "window", this.place),
      this.detail,
      this.caption,
      el("div", { class: "actions" }, pick, example, this.motion, file),
    );
    takeDrops(this.element, (dropped) => void this.read(dropped));
  }

  fits(model: Model): boolean {
    return model.manifest.series !== null && model.has("scorer");
  }

  show(running: Running): void {
    const isNew = this.running?.model !== running.model;
    this.running = running;
    if (isNew) {
      const { manifest } = running.model;
      const { channels, window } = manifest.series!;
      this.conditions.replaceChildren(...classFields(this.stage, manifest, () => this.update()));
      this.wish.textContent = `Choose or drop a CSV of ${names(manifest.series!)}, at least ${window} readings.`;
      // Three channels may be those of a phone's acceleration.
      this.motion.hidden = channels.length !== 3 || typeof DeviceMotionEvent === "undefined";
      this.example();
    } else this.update();
  }

  hide(): void {
    if (this.listening) removeEventListener("devicemotion", this.listening);
    this.listening = null;
  }

  /** The windows that the file was checked with. */
  private example(): void {
    const { golden } = this.running!.model.manifest;
    const values = golden.values.x ?? golden.values.x_reconstructed;
    if (values) this.take(Float32Array.from(values));
  }

  private take(readings: Float32Array): void {
    this.readings = readings;
    this.update();
  }

  private async read(file: File): Promise<void> {
    try {
      if (file.size > LARGEST_FILE) throw new FileError(`${file.name} is too large to be read here.`);
      this.take(parseReadings(await file.text(), this.running!.model.manifest.series!, file.name));
    } catch (err) {
      this.stage.fail(err);
    }
  }

  /** Take the acceleration of this phone until a few windows are full. */
  private async listen(): Promise<void> {
    const { window, stride } = this.running!.model.manifest.series!;
    const ask = (DeviceMotionEvent as { requestPermission?: () => Promise<string> }).requestPermission;
    if (ask && (await ask.call(DeviceMotionEvent)) !== "granted") return this.stage.notice("The phone's motion may not be read.");
    this.hide();
    const values: number[] = [];
    this.listening = ({ accelerationIncludingGravity: at }) => {
      if (!at) return;
      values.push(at.x ?? 0, at.y ?? 0, at.z ?? 0);
      const steps = values.length / 3;
      if (steps >= window && (steps - window) % stride === 0) this.take(Float32Array.from(values.slice(-3 * (window + 20 * stride))));
    };
    addEventListener("devicemotion", this.listening);
    this.stage.notice("Listening to the phone's motion.");
  }

  private async score(): Promise<void> {
    const { running, readings } = this;
    if (!running || !readings) return;
    const { model } = running;
    const { manifest } = await model.graph("scorer");
    const series = manifest.series!;
    const size = series.window * series.channels.length;
    const starts = windowStarts(readings, series, MOST_WINDOWS);
    if (starts.length === 0) throw new FileError("A reading is missing in every window.");
    const told: Told = { starts, scores: [], pValues: [], made: [], added: [] };
    const group = groupOf(manifest, this.stage.choice);
    for (let first = 0; first < starts.length; first += AT_ONCE) {
      const some = starts.slice(first, first + AT_ONCE);
      const x = new Float32Array(some.length * size);
      some.forEach((start, i) => x.set(readings.subarray(start * series.channels.length).subarray(0, size), i * size));
      const out = await model.scoreWindows(x, Array(some.length).fill(this.stage.choice));
      some.forEach((_, i) => {
        const score = out.score![i]!;
        told.scores.push(score);
        told.pValues.push(manifest.calibration ? pValue(score, manifest.calibration, group) : NaN);
        told.made.push(out.x_reconstructed!.slice(i * size, (i + 1) * size));
        told.added.push(out.contribution?.slice(i * size, (i + 1) * size) ?? new Float32Array(size));
      });
    }
    if (model !== this.running?.model) return;
    this.told = told;
    const worst = told.scores.indexOf(Math.max(...told.scores));
    this.place.max = String(starts.length - 1);
    this.place.value = String(worst);
    this.say(manifest);
    this.look();
    this.stage.setLink(this, {});
    markFirstImage();
  }

  private say(manifest: Manifest): void {
    const { scores, pValues } = this.told!;
    const { calibration } = manifest;
    const count = `${scores.length.toLocaleString("en")} ${scores.length === 1 ? "window" : "windows"}`;
    this.number.textContent = count;
    if (!calibration) {
      this.verdict.textContent = "Scores alone: the file is not calibrated";
      return;
    }
    const alarms = pValues.filter((p) => p <= calibration.falseAlarms).length;
    const rate = `${Number((100 * calibration.falseAlarms).toPrecision(2))} %`;
    this.verdict.textContent = alarms ? `${alarms.toLocaleString("en")} in alarm` : "Nothing unusual";
    this.number.textContent = `${count}; of normal ones ${rate} would be in alarm`;
    this.element.dataset.alarms = String(alarms);
  }

  /** Draw the whole series, and the window that is looked at. */
  private look(): void {
    const { running, readings, told } = this;
    if (!running || !readings || !told || this.element.hidden) return;
    const { series, calibration } = running.model.manifest;
    const at = Number(this.place.value);
    const rate = calibration?.falseAlarms ?? 0;
    this.paintSeries(series!, readings, told, at, rate);
    this.paintWindow(series!, readings, told, at);
    const { channels, window } = series!;
    const sums = channels.map((_, channel) => told.added[at]!.reduce((sum, value, i) => (i % channels.length === channel ? sum + value : sum), 0));
    const worst = channels[sums.indexOf(Math.max(...sums))]!.name;
    const p = told.pValues[at]!;
    const begins = told.starts[at]!;
    const odds = Number.isNaN(p) ? "" : `, p = ${p.toPrecision(2)}`;
    const share = channels.length > 1 ? `, most of it in ${worst}` : "";
    this.caption.textContent = `Steps ${begins} to ${begins + window - 1}: ${told.scores[at]!.toFixed(1)} nats${odds}${share}`;
    this.chart.setAttribute("aria-label", `${channels.length} channels over ${readings.length / channels.length} steps, and the p-value of each window`);
    this.detail.setAttribute("aria-label", this.caption.textContent);
  }

  private paintSeries(series: Series, readings: Float32Array, told: Told, at: number, rate: number): void {
    const { channels, window } = series;
    const shown = channels.slice(0, MOST_CHANNELS);
    const strips = shown.length + (told.pValues.some(Number.isNaN) ? 0 : 1);
    const { context, colour, wide } = sized(this.chart, this.element, strips);
    const steps = readings.length / channels.length;
    const x = (step: number) => (step / Math.max(1, steps - 1)) * wide;
    told.starts.forEach((start, i) => {
      if (i !== at && !(told.pValues[i]! <= rate)) return;
      context.fillStyle = i === at ? colour("--line") : colour("--tint");
      context.fillRect(x(start), 0, Math.max(2, x(start + window) - x(start)), strips * STRIP);
    });
    shown.forEach(({ name, unit }, channel) => {
      const values = Array.from({ length: steps }, (_, step) => readings[step * channels.length + channel]!);
      line(context, values, x, channel, colour("--ink"), 1.5);
      label(context, unit ? `${name}, ${unit}` : name, channel, colour("--soft"));
    });
    if (strips === shown.length) return;
    const height = (p: number) => Math.log10(Math.max(p, LOWEST)) / Math.log10(LOWEST);
    const top = shown.length * STRIP;
    const y = (p: number) => top + 8 + height(p) * (STRIP - 16);
    context.strokeStyle = colour("--accent");
    context.beginPath();
    context.moveTo(0, y(rate));
    context.lineTo(wide, y(rate));
    context.stroke();
    told.pValues.forEach((p, i) => {
      context.fillStyle = p <= rate ? colour("--accent") : colour("--soft");
      context.fillRect(x(told.starts[i]! + window - 1) - 2, y(p) - 2, 4, 4);
    });
    label(context, "p-value", shown.length, colour("--soft"));
  }

  private paintWindow(series: Series, readings: Float32Array, told: Told, at: number): void {
    const { channels, window } = series;
    const shown = channels.slice(0, MOST_CHANNELS);
    const { context, colour, wide } = sized(this.detail, this.element, shown.length);
    const x = (step: number) => (step / (window - 1)) * wide;
    const most = Math.max(1e-6, ...told.added[at]!);
    shown.forEach((_, channel) => {
      const begin = told.starts[at]!;
      const signal = Array.from({ length: window }, (__, step) => readings[(begin + step) * channels.length + channel]!);
      const made = Array.from({ length: window }, (__, step) => told.made[at]![step * channels.length + channel]!);
      const low = Math.min(...signal, ...made);
      const high = Math.max(...signal, ...made);
      context.fillStyle = colour("--accent");
      context.globalAlpha = 0.3;
      for (let step = 0; step < window; step++) {
        const tall = (Math.max(0, told.added[at]![step * channels.length + channel]!) / most) * STRIP;
        context.fillRect(x(step) - wide / window / 2, (channel + 1) * STRIP - tall, wide / window, tall);
      }
      context.globalAlpha = 1;
      line(context, signal, x, channel, colour("--ink"), 2, low, high);
      line(context, made, x, channel, colour("--accent"), 2, low, high);
      label(context, channels[channel]!.name, channel, colour("--soft"));
    });
  }
}

/** A field for each condition: its classes, and unknown. */
function classFields(stage: Stage, manifest: Manifest, onChange: () => void): HTMLElement[] {
  return manifest.conditions.map(({ name, names: classes, size }) => {
    const options = [...classes, "unknown"].map((one, i) => el("option", { value: String(i) }, one));
    const select = el("select", { "aria-label": name }, ...options.slice(0, size + 1));
    select.value = String(stage.choice[name] ?? 0);
    select.addEventListener("change", () => {
      stage.choice[name] = Number(select.value);
      onChange();
    });
    return el("label", { class: "field" }, name, select);
  });
}

/** The p-values of the class that is chosen, where it has its own. */
function groupOf({ calibration }: Manifest, choice: Record<string, number | number[]>): number {
  if (!calibration?.condition) return 0;
  return calibration.groupOfClass[Number(choice[calibration.condition] ?? 0)] ?? 0;
}

function sized(canvas: HTMLCanvasElement, element: HTMLElement, strips: number) {
  const scale = Math.min(3, devicePixelRatio || 1);
  const wide = canvas.clientWidth || 320;
  canvas.width = wide * scale;
  canvas.height = strips * STRIP * scale;
  canvas.style.aspectRatio = `${wide} / ${strips * STRIP}`;
  const context = canvas.getContext("2d")!;
  context.scale(scale, scale);
  const style = getComputedStyle(element);
  return { context, wide, colour: (name: string) => style.getPropertyValue(name) || style.color };
}

/** A line of values in a strip, broken where one is missing. */
function line(
  context: CanvasRenderingContext2D,
  values: number[],
  x: (step: number) => number,
  strip: number,
  colour: string,
  width: number,
  low = Math.min(...values.filter((value) => !Number.isNaN(value))),
  high = Math.max(...values.filter((value) => !Number.isNaN(value))),
): void {
  const y = (value: number) => (strip + 1) * STRIP - 8 - ((value - low) / (high - low || 1)) * (STRIP - 26);
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.beginPath();
  let isOn = false;
  values.forEach((value, step) => {
    if (Number.isNaN(value)) isOn = false;
    else if (isOn) context.lineTo(x(step), y(value));
    else {
      context.moveTo(x(step), y(value));
      isOn = true;
    }
  });
  context.stroke();
}

function label(context: CanvasRenderingContext2D, text: string, strip: number, colour: string): void {
  context.fillStyle = colour;
  context.font = "13px system-ui, sans-serif";
  context.fillText(text, 14, strip * STRIP + 18);
}
