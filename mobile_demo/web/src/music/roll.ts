// A piano roll: the voices of a piece, and a melody that is tapped, drawn with a finger, or written
// with the arrow keys.

import { el } from "../dom";
import type { Notes } from "../manifest";
import { nameOf, writtenName } from "./notes";
import type { Line, Note } from "./notes";

/** The lowest note of a soprano, from which on a semitone is given more room, for fingers. */
const MIDDLE_C = 60;
const ROOMY = 1.8;
const BLACK = [1, 3, 6, 8, 10];
const MOST_RATIO = 3;

export interface Edit {
  /** From this step on, `length` steps. */
  step: number;
  length: number;
  /** 0 for a rest. */
  pitch: number;
}

export interface Edits {
  /** A finger or a key has changed the melody. */
  edit(edit: Edit, at: number): void;
  /** The finger is lifted. */
  done(pitch: number, at: number): void;
}

export class Roll {
  readonly element: HTMLElement;
  /** Steps that a tap sets. */
  grid = 4;
  private readonly canvas = el("canvas", { "aria-hidden": "true" });
  private readonly place = el("input", { type: "range", class: "hidden", min: "0", value: "0", "aria-label": "Place in the melody" });
  private readonly pitch = el("input", { type: "range", class: "hidden", "aria-label": "Note of the melody there" });
  private schema: Notes | null = null;
  private melody: Line | null = null;
  private notes: Note[] = [];
  private muted: ReadonlySet<number> = new Set();
  private playhead: number | null = null;
  private drawn: Edit | null = null;
  private erasing = false;

  constructor(private readonly on: Edits) {
    this.element = el("div", { class: "roll", role: "group" }, this.canvas, this.place, this.pitch);
    this.element.addEventListener("pointerdown", (event) => this.down(event));
    this.element.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"] as const) this.element.addEventListener(name, (event) => this.up(event));
    this.place.addEventListener("input", () => this.say());
    this.pitch.addEventListener("input", () => this.write(this.pitch.valueAsNumber));
    for (const input of [this.place, this.pitch]) {
      input.addEventListener("keydown", (event) => this.key(event));
      for (const name of ["focus", "blur"]) input.addEventListener(name, () => this.paint());
    }
    new ResizeObserver(() => this.paint()).observe(this.canvas);
  }

  /** Show a piece; its first voice is the melody, if there is one to write. */
  show(schema: Notes, notes: Note[], melody: Line | null, muted: ReadonlySet<number>): void {
    [this.schema, this.notes, this.melody, this.muted] = [schema, notes, melody, muted];
    this.element.classList.toggle("editable", melody !== null);
    this.place.max = String(Math.max(0, Math.ceil(schema.steps / this.grid) - 1));
    this.pitch.min = String(this.floor - 1);
    this.pitch.max = String(schema.high);
    this.element.setAttribute("aria-label", `Piano roll: ${notes.length} notes`);
    this.place.hidden = this.pitch.hidden = melody === null;
    this.say();
  }

  /** The step that is heard, or null. */
  follow(step: number | null): void {
    if (step === this.playhead) return;
    this.playhead = step;
    this.paint();
  }

  private get floor(): number {
    return Math.min(Math.max(this.schema!.low, MIDDLE_C), this.schema!.high);
  }

  private key(event: KeyboardEvent): void {
    const up = { ArrowUp: 1, ArrowDown: -1, PageUp: 12, PageDown: -12 }[event.key];
    const right = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const now = this.pitch.valueAsNumber;
    if (up) this.write(now < this.floor ? this.middle() : now + up);
    else if (right) {
      this.place.value = String(this.place.valueAsNumber + right);
      this.say();
    } else if (["Delete", "Backspace", " "].includes(event.key)) this.write(this.floor - 1);
    else return;
    event.preventDefault();
  }

  /** Where a melody begins that is written into silence: near the last note before. */
  private middle(): number {
    const before = this.melody!.slice(0, this.place.valueAsNumber * this.grid).findLast(({ pitch }) => pitch > 0);
    return before?.pitch ?? Math.round((this.floor + this.schema!.high) / 2);
  }

  /** A note at the cursor; below the lowest it is a rest. */
  private write(pitch: number): void {
    const step = this.place.valueAsNumber * this.grid;
    const clamped = Math.min(this.schema!.high, pitch);
    const edit = { step, length: this.grid, pitch: clamped < this.floor ? 0 : clamped };
    const now = performance.now();
    this.on.edit(edit, now);
    this.on.done(edit.pitch, now);
  }

  /** What is at the cursor, for who hears the page. */
  private say(): void {
    const { schema, melody } = this;
    if (!schema || !melody) return this.paint();
    const step = this.place.valueAsNumber * this.grid;
    const { pitch, struck } = melody[step]!;
    const beat = Math.floor(step / schema.stepsPerBeat);
    const part = step % schema.stepsPerBeat;
    const where = `bar ${Math.floor(beat / 4) + 1}, beat ${(beat % 4) + 1}${part ? ` and ${part} of ${schema.stepsPerBeat}` : ""}`;
    const what = `${nameOf(pitch)}${pitch && !struck ? ", held" : ""}`;
    this.pitch.value = String(pitch || this.floor - 1);
    this.place.setAttribute("aria-valuetext", `${where}: ${what}`);
    this.pitch.setAttribute("aria-valuetext", `${what}, ${where}`);
    this.paint();
  }

  private down(event: PointerEvent): void {
    if (!this.melody || event.button !== 0) return;
    const edit = this.under(event);
    if (!edit) return;
    event.preventDefault();
    this.element.setPointerCapture(event.pointerId);
    this.erasing = this.melody[edit.step]!.pitch === edit.pitch;
    this.draw(this.erasing ? { ...edit, pitch: 0 } : edit, event);
  }

  private move(event: PointerEvent): void {
    const edit = this.drawn && this.under(event, true);
    if (!edit || !this.drawn) return;
    if (this.erasing) edit.pitch = 0;
    if (edit.step !== this.drawn.step || edit.pitch !== this.drawn.pitch) this.draw(edit, event);
  }

  private draw(edit: Edit, event: PointerEvent): void {
    this.drawn = edit;
    this.place.value = String(Math.floor(edit.step / this.grid));
    this.on.edit(edit, event.timeStamp);
  }

  private up(event: PointerEvent): void {
    if (!this.drawn) return;
    const { pitch } = this.drawn;
    this.drawn = null;
    this.paint();
    this.on.done(pitch, event.timeStamp);
  }

  /** What a finger there would set; null below where the melody is written. */
  private under(event: PointerEvent, clamp = false): Edit | null {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    const { steps, high } = this.schema!;
    const step = Math.min(steps - 1, Math.max(0, Math.floor(((event.clientX - left) / width) * steps)));
    const y = (event.clientY - top) / height;
    let pitch = high;
    while (pitch > this.floor && this.y(pitch - 0.5) <= y) pitch--;
    if (!clamp && y > this.y(this.floor - 0.5)) return null;
    return { step: Math.floor(step / this.grid) * this.grid, length: this.grid, pitch };
  }

  /** Where a pitch is, from 0 at the top to 1; half a semitone up is the upper edge of its row. */
  private y(pitch: number): number {
    const { low, high } = this.schema!;
    const units = (from: number, to: number) => Math.max(0, to - from);
    const edge = MIDDLE_C - 0.5;
    const height = (a: number, b: number) =>
      units(Math.max(a, edge), Math.max(b, edge)) * ROOMY + units(Math.min(a, edge), Math.min(b, edge));
    return height(pitch, high + 0.5) / height(low - 0.5, high + 0.5);
  }

  private paint(): void {
    const { canvas, schema } = this;
    const { clientWidth, clientHeight } = canvas;
    if (!schema || !clientWidth || !clientHeight) return;
    const ratio = Math.min(MOST_RATIO, devicePixelRatio);
    const [width, height] = [Math.round(clientWidth * ratio), Math.round(clientHeight * ratio)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d")!;
    context.clearRect(0, 0, width, height);
    const style = getComputedStyle(this.element);
    const colour = (name: string) => style.getPropertyValue(name);
    const x = (step: number) => (step / schema.steps) * width;
    const y = (pitch: number) => this.y(pitch) * height;

    context.fillStyle = colour("--stripe");
    for (let pitch = this.melody ? this.floor : schema.low; pitch <= schema.high; pitch++) {
      if (BLACK.includes(pitch % 12)) context.fillRect(0, y(pitch + 0.5), width, y(pitch - 0.5) - y(pitch + 0.5));
    }
    if (this.melody && this.isWriting) {
      context.fillStyle = colour("--tint");
      context.fillRect(x(this.place.valueAsNumber * this.grid), 0, x(this.grid), height);
    }
    context.fillStyle = colour("--line");
    for (let step = 0; step < schema.steps; step += schema.stepsPerBeat) {
      const isBar = step % (4 * schema.stepsPerBeat) === 0;
      if (step > 0) context.fillRect(Math.round(x(step)), 0, ratio * (isBar ? 2 : 1), height);
    }
    const gap = ratio;
    // The melody lies above what crosses it.
    for (const { voice, pitch, start, end } of this.notes.toSorted((a, b) => b.voice - a.voice)) {
      const isHeard = this.playhead !== null && start <= this.playhead && end > this.playhead;
      context.globalAlpha = this.muted.has(voice) ? 0.25 : 1;
      context.fillStyle = isHeard ? colour("--ink") : colour(`--voice-${(voice % 4) + 1}`);
      const box = [x(start) + gap, y(pitch + 0.5) + gap / 2, x(end) - x(start) - 2 * gap, y(pitch - 0.5) - y(pitch + 0.5) - gap] as const;
      context.beginPath();
      context.roundRect(...box, Math.min(4 * ratio, box[3] / 2));
      context.fill();
      if (voice > 0 || !this.melody) continue;
      // The melody is known by more than its colour.
      context.strokeStyle = colour("--ink");
      context.lineWidth = 1.5 * ratio;
      context.stroke();
    }
    context.globalAlpha = 1;
    if (this.playhead !== null) {
      context.fillStyle = colour("--ink");
      context.fillRect(x(this.playhead) - ratio / 2, 0, ratio * 1.5, height);
    }
    const label = this.drawn ?? (this.isWriting && this.melody ? { ...this.melody[this.cursor]!, step: this.cursor } : null);
    if (label?.pitch) this.label(context, label.pitch, x(label.step + this.grid / 2), y(label.pitch + 0.5), ratio, colour);
  }

  private get cursor(): number {
    return this.place.valueAsNumber * this.grid;
  }

  private get isWriting(): boolean {
    return document.activeElement === this.place || document.activeElement === this.pitch;
  }

  /** The name of a note over it, where no finger hides it. */
  private label(context: CanvasRenderingContext2D, pitch: number, x: number, y: number, ratio: number, colour: (name: string) => string): void {
    context.font = `600 ${15 * ratio}px system-ui, sans-serif`;
    const text = writtenName(pitch);
    const width = context.measureText(text).width + 16 * ratio;
    const left = Math.min(Math.max(2 * ratio, x - width / 2), context.canvas.width - width - 2 * ratio);
    const top = Math.max(2 * ratio, y - 62 * ratio);
    context.fillStyle = colour("--ink");
    context.beginPath();
    context.roundRect(left, top, width, 26 * ratio, 9 * ratio);
    context.fill();
    context.fillStyle = colour("--paper");
    context.textBaseline = "middle";
    context.fillText(text, left + 8 * ratio, top + 13.5 * ratio);
  }
}
