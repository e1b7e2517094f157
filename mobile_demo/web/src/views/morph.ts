// A map of the latent space under a finger, and the way from one class to another.

import { classButtons, classOptions, otherConditions } from "../conditions";
import { el, newest, prefersStill } from "../dom";
import { isPicture } from "../ink";
import { codeAt, walk } from "../latent";
import type { Walk } from "../latent";
import type { Choice, Model } from "../model";
import { mainCondition } from "../model";
import { saveSheet } from "../share";
import type { Running, Stage, View } from "../stage";
import { markFirstImage } from "../timing";

/** Images on a side of the map. */
const SIDE = 9;
const STEP = 0.05;
const WALK_MS = 2600;
const DRIFT_MS = 16_000;

export class MorphView implements View {
  readonly name = "morph";
  readonly label = "Morph";
  readonly music = false;
  readonly element: HTMLElement;
  private readonly map = el("canvas", { "aria-hidden": "true" });
  private readonly puck = el("span", { class: "puck", "aria-hidden": "true" });
  private readonly pad = el(
    "div",
    {
      class: "pad",
      role: "slider",
      tabindex: "0",
      "aria-label": "Latent map: drag, or use the arrow keys",
      "aria-valuemin": "-1",
      "aria-valuemax": "1",
      "aria-valuenow": "0",
    },
    this.map,
    this.puck,
  );
  private readonly image = el("canvas", { class: "image", role: "img", "aria-label": "The image at this place" });
  private readonly classes = classButtons((value) => this.choose(Number(value)));
  private readonly others = el("div", { class: "others" });
  private readonly target = el("select", { "aria-label": "Walk to" });
  private readonly time = el("input", { type: "range", min: "0", max: "1", step: "0.005", value: "0", "aria-label": "How far the walk is" });
  private readonly play = el("button", { type: "button", click: () => this.go() }, "Walk");
  private readonly walkRow = el("div", { class: "walk" }, el("label", { class: "field" }, "to", this.target), this.time, this.play);
  private running: Running | null = null;
  private place: [number, number] = [0, 0];
  private shown: Float32Array | null = null;
  private way: Promise<Walk> | null = null;
  private touched = false;
  private animation = 0;
  private readonly fail = (err: unknown) => this.stage.fail(err, this.running?.model);
  private readonly follow = newest<[number, number]>((place) => this.paintAt(place), this.fail);
  private readonly step = newest<number>((time) => this.paintWalk(time), this.fail);
  private readonly redraw = newest<void>(() => this.paintMap(), this.fail);

  constructor(private readonly stage: Stage) {
    this.pad.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.pad.setPointerCapture(event.pointerId);
      this.stop();
      this.drag(event);
    });
    this.pad.addEventListener("pointermove", (event) => {
      if (this.pad.hasPointerCapture(event.pointerId)) this.drag(event);
    });
    this.pad.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!by) return;
      event.preventDefault();
      this.stop();
      this.moveTo(this.place[0] + STEP * by[0]!, this.place[1] + STEP * by[1]!);
    });
    this.time.addEventListener("input", () => {
      this.stop();
      this.step(this.time.valueAsNumber);
    });
    this.target.addEventListener("change", () => this.newWay());
    const save = el("button", { type: "button", class: "quiet", click: () => void this.save() }, "Save");
    this.element = el(
      "section",
      { class: "view morph", id: "view-morph", role: "tabpanel", "aria-labelledby": "tab-morph" },
      el("div", { class: "intro" }, el("h2", {}, "Drag through the map"), el("p", { class: "status" }, "Every place is an image that nobody drew."), save),
      el("div", { class: "frame" }, this.image),
      this.pad,
      el("div", { class: "controls" }, this.classes.element, this.others, this.walkRow),
    );
  }

  fits(model: Model): boolean {
    return isPicture(model.manifest) && model.has("decoder") && model.manifest.latentDim > 0;
  }

  show(running: Running): void {
    const isNew = this.running?.model !== running.model;
    this.running = running;
    const main = mainCondition(running.model.manifest);
    if (isNew) {
      const options = classOptions(main);
      const chosen = main ? (this.stage.choice[main.name] as number) : 0;
      this.classes.set(options, String(chosen));
      this.classes.element.hidden = this.walkRow.hidden = !main;
      this.others.replaceChildren(
        ...otherConditions(this.stage, running.model.manifest, () => {
          this.newWay();
          this.redraw();
          this.follow(this.place);
        }),
      );
      this.target.replaceChildren(...options.map(({ value, label }) => el("option", { value }, label)));
      this.target.value = String((chosen + 1) % Math.max(1, options.length));
    } else if (main) this.classes.mark(String(this.stage.choice[main.name]));
    this.newWay();
    this.redraw();
    this.moveTo(...this.place);
    if (!this.touched && !prefersStill()) this.drift();
  }

  hide(): void {
    cancelAnimationFrame(this.animation);
  }

  private stop(): void {
    this.touched = true;
    cancelAnimationFrame(this.animation);
  }

  private choose(index: number): void {
    const main = this.running && mainCondition(this.running.model.manifest);
    if (!main) return;
    this.stage.choice = { ...this.stage.choice, [main.name]: index };
    if (this.target.value === String(index)) this.target.value = String((index + 1) % main.size);
    this.newWay();
    this.redraw();
    this.follow(this.place);
  }

  private drag(event: PointerEvent): void {
    const { left, top, width, height } = this.pad.getBoundingClientRect();
    this.moveTo((2 * (event.clientX - left)) / width - 1, (2 * (event.clientY - top)) / height - 1);
  }

  private moveTo(u: number, v: number): void {
    const clamp = (value: number) => Math.min(1, Math.max(-1, value));
    this.place = [clamp(u), clamp(v)];
    this.puck.style.left = `${50 + 50 * this.place[0]}%`;
    this.puck.style.top = `${50 + 50 * this.place[1]}%`;
    this.pad.setAttribute("aria-valuenow", this.place[0].toFixed(2));
    this.pad.setAttribute("aria-valuetext", `across ${this.place[0].toFixed(2)}, down ${this.place[1].toFixed(2)}`);
    this.way = null;
    this.time.value = "0";
    this.follow(this.place);
  }

  /** Before the first touch the finger moves by itself. */
  private drift(): void {
    const move = (now: number) => {
      const angle = (2 * Math.PI * now) / DRIFT_MS;
      this.moveTo(0.62 * Math.sin(angle), 0.62 * Math.sin(2 * angle + 0.6));
      this.animation = requestAnimationFrame(move);
    };
    cancelAnimationFrame(this.animation);
    this.animation = requestAnimationFrame(move);
  }

  private async paintAt([u, v]: [number, number]): Promise<void> {
    if (!this.running) return;
    const { model, painter } = this.running;
    this.shown = await model.decode(codeAt(model.manifest, u, v), [this.stage.choice]);
    painter.paint(this.image, this.shown);
    this.element.dataset.frames = String(Number(this.element.dataset.frames ?? 0) + 1);
    markFirstImage();
  }

  /** The whole map, in the background, in the chosen class. */
  private async paintMap(): Promise<void> {
    if (!this.running) return;
    const { model, painter } = this.running;
    const { manifest } = model;
    const codes = new Float32Array(SIDE * SIDE * manifest.latentDim);
    for (let i = 0; i < SIDE * SIDE; i++) {
      const at = (k: number) => (2 * (k + 0.5)) / SIDE - 1;
      codes.set(codeAt(manifest, at(i % SIDE), at(Math.floor(i / SIDE))), i * manifest.latentDim);
    }
    const images = await model.decode(codes, Array<Choice>(SIDE * SIDE).fill(this.stage.choice));
    const [across, down] = [Math.round(painter.width * 0.75), Math.round(painter.height * 0.75)];
    this.map.width = SIDE * across;
    this.map.height = SIDE * down;
    const context = this.map.getContext("2d")!;
    for (let i = 0; i < SIDE * SIDE; i++) {
      const tile = await createImageBitmap(painter.render(images, i));
      context.drawImage(tile, (i % SIDE) * across, Math.floor(i / SIDE) * down, across, down);
      tile.close();
    }
  }

  private newWay(): void {
    this.way = null;
    this.time.value = "0";
  }

  private async paintWalk(time: number): Promise<void> {
    const main = this.running && mainCondition(this.running.model.manifest);
    if (!this.running || !main) return;
    const { model, painter } = this.running;
    const to = { ...this.stage.choice, [main.name]: Number(this.target.value) };
    this.way ??= walk(model, codeAt(model.manifest, ...this.place), this.stage.choice, to);
    this.shown = await (await this.way).at(time);
    painter.paint(this.image, this.shown);
  }

  /** Walk there; a second press walks back. */
  private go(): void {
    this.stop();
    const back = this.time.valueAsNumber > 0.5;
    if (prefersStill()) {
      this.time.value = back ? "0" : "1";
      return this.step(back ? 0 : 1);
    }
    let start = 0;
    const move = (now: number) => {
      start ||= now;
      const part = Math.min(1, (now - start) / WALK_MS);
      const eased = part * part * (3 - 2 * part);
      this.time.value = String(back ? 1 - eased : eased);
      this.step(this.time.valueAsNumber);
      if (part < 1) this.animation = requestAnimationFrame(move);
    };
    this.animation = requestAnimationFrame(move);
  }

  private async save(): Promise<void> {
    if (this.running && this.shown) await saveSheet(this.stage, this.shown, 1, "morph.png");
  }
}
