// Draw one; see every class in the same hand.

import { DrawingCanvas } from "../drawing";
import type { Stroke } from "../drawing";
import { el, newest, prefersStill } from "../dom";
import { handwriting } from "../hand";
import { isInk, isPicture } from "../ink";
import { codeAt, inEveryClass, read, tileNames } from "../latent";
import type { Model } from "../model";
import { mainCondition } from "../model";
import { boxOf, centre } from "../preprocess";
import { saveSheet } from "../share";
import type { Running, Stage, View } from "../stage";
import { markFirstImage, measureDrawing } from "../timing";

const DRAW_MS = 1300;
const PAUSE_MS = 1500;
const WALK_MS = 14_000;

export class DrawView implements View {
  readonly name = "draw";
  readonly label = "Draw";
  readonly music = false;
  readonly element: HTMLElement;
  private readonly canvas: DrawingCanvas;
  private readonly hint = el("p", { class: "hint" }, "Draw here");
  private readonly tiles = el("div", { class: "tiles" });
  private readonly status = el("p", { class: "status", "aria-live": "polite" }, " ");
  private readonly title = el("h2", {}, "Draw one digit");
  private running: Running | null = null;
  private images: Float32Array | null = null;
  /** The class a person said the drawing is. */
  private told: number | null = null;
  private touched = false;
  private animation = 0;
  private readonly update = newest<void>(
    () => this.rewrite(),
    (err) => this.stage.fail(err, this.running?.model),
  );
  private readonly walk = newest<Float32Array>(
    (z) => this.rewriteCode(z, null),
    (err) => this.stage.fail(err, this.running?.model),
  );

  constructor(private readonly stage: Stage) {
    this.canvas = new DrawingCanvas(stage.drawing, "Drawing area: draw with a finger, a pen or a mouse", {
      start: () => this.takeOver(),
      end: () => this.update(),
    });
    stage.drawing.addEventListener("change", () => {
      this.hint.hidden = !stage.drawing.isEmpty;
      if (this.running && !this.element.hidden) this.update();
    });
    const clear = el("button", { type: "button", class: "quiet", click: () => this.clear() }, "Clear");
    const show = el("button", { type: "button", class: "quiet", click: () => this.drawForMe() }, "Draw for me");
    const save = el("button", { type: "button", class: "quiet", click: () => void this.save() }, "Save");
    this.element = el(
      "section",
      { class: "view draw", id: "view-draw", role: "tabpanel", "aria-labelledby": "tab-draw" },
      el("div", { class: "intro" }, this.title, this.status),
      el("div", { class: "board" }, this.canvas.element, this.hint),
      el("div", { class: "actions" }, clear, show, save),
      this.tiles,
    );
    // The hand is at work before the model is there.
    this.attract(0);
  }

  fits(model: Model): boolean {
    return isInk(model.manifest) && isPicture(model.manifest) && model.has("decoder") && model.has("encoder");
  }

  show(running: Running): void {
    const isNew = this.running?.model !== running.model;
    this.running = running;
    if (isNew) {
      this.images = null;
      const names = tileNames(running.model.manifest, "your drawing");
      const classes = mainCondition(running.model.manifest);
      this.title.textContent = isDigits(running) ? "Draw one digit, see all ten" : `Draw one, see ${names.length}`;
      this.tiles.classList.toggle("long", names.some((name) => name.length > 3));
      this.tiles.replaceChildren(
        ...names.map((name, i) =>
          el(
            "button",
            {
              type: "button",
              class: "tile",
              "aria-label": classes ? `${name} in your hand; press if this is what you drew` : name,
              "aria-pressed": "false",
              disabled: !classes,
              click: () => this.tell(i),
            },
            el("canvas", { "aria-hidden": "true" }),
            el("span", {}, name),
          ),
        ),
      );
    }
    this.canvas.paint();
    this.update();
    if (!this.touched) this.attract(0);
  }

  hide(): void {
    cancelAnimationFrame(this.animation);
  }

  private takeOver(): void {
    if (!this.touched || this.stage.drawing.isEmpty) this.told = null;
    if (this.touched) return;
    this.touched = true;
    cancelAnimationFrame(this.animation);
    this.stage.drawing.set([]);
  }

  private clear(): void {
    this.takeOver();
    this.told = null;
    this.stage.drawing.set([]);
    this.status.textContent = " ";
  }

  private tell(index: number): void {
    this.takeOver();
    this.told = this.told === index ? null : index;
    this.update();
  }

  private drawForMe(): void {
    this.touched = true;
    this.told = null;
    cancelAnimationFrame(this.animation);
    const { stroke, pen } = handwriting(Math.floor(performance.now() / 700));
    if (prefersStill()) this.stage.drawing.set([stroke], pen);
    else this.follow(stroke, pen, () => undefined);
  }

  /** Draw, pause, and draw the next one, until a person does. */
  private attract(n: number): void {
    cancelAnimationFrame(this.animation);
    if (this.running && !isDigits(this.running)) return this.stroll();
    const { stroke, pen } = handwriting(n);
    if (prefersStill()) return this.stage.drawing.set([stroke], pen);
    this.follow(stroke, pen, () => this.attract(n + 1));
  }

  private follow(stroke: Stroke, pen: number, then: () => void): void {
    let start = 0;
    const step = (now: number) => {
      start ||= now;
      const part = Math.min(1, (now - start) / DRAW_MS);
      const eased = part * part * (3 - 2 * part);
      if (part < 1 || this.stage.drawing.strokes[0]?.length !== stroke.length) {
        this.stage.drawing.set([stroke.slice(0, Math.max(2, Math.round(eased * stroke.length)))], pen);
      }
      if (now - start < DRAW_MS + PAUSE_MS) this.animation = requestAnimationFrame(step);
      else then();
    };
    this.animation = requestAnimationFrame(step);
  }

  /** Another kind of image: a slow walk over the map. */
  private stroll(): void {
    this.stage.drawing.set([]);
    const step = (now: number) => {
      if (!this.running) return;
      const angle = prefersStill() ? 1 : (2 * Math.PI * now) / WALK_MS;
      this.walk(codeAt(this.running.model.manifest, 0.7 * Math.cos(angle), 0.7 * Math.sin(2 * angle)));
      if (!prefersStill()) this.animation = requestAnimationFrame(step);
    };
    this.animation = requestAnimationFrame(step);
  }

  private async rewrite(): Promise<void> {
    if (!this.running) return;
    const { model } = this.running;
    // The middle of the latent space, until there is a drawing that has been read.
    if (!this.images) await this.rewriteCode(new Float32Array(model.manifest.latentDim), null);
    if (this.stage.drawing.isEmpty) return;
    const begun = performance.now();
    const { z, read: label } = await read(model, drawnImage(this.stage, model), this.stage.choice, this.told);
    await this.rewriteCode(z, label);
    measureDrawing(begun);
    if (!this.touched) return;
    const names = mainCondition(model.manifest)?.names;
    this.status.textContent =
      label === null || !names ? " " : this.told === null ? `Read as ${names[label]}. Not it? Press the right one.` : `Taken as ${names[label]}.`;
  }

  private async rewriteCode(z: Float32Array, label: number | null): Promise<void> {
    if (!this.running) return;
    const { model, painter } = this.running;
    this.images = await inEveryClass(model, z, this.stage.choice);
    [...this.tiles.children].forEach((tile, i) => {
      painter.paint(tile.querySelector("canvas")!, this.images!, i);
      tile.setAttribute("aria-pressed", String(i === label));
    });
    markFirstImage();
  }

  private async save(): Promise<void> {
    if (this.running && this.images) await saveSheet(this.stage, this.images, 5, "in-my-hand.png");
  }
}

/** The drawing as an image of the training set's kind, in the data's range. */
export function drawnImage(stage: Stage, model: Model): Float32Array {
  const { height, width, channels, dataRange, data } = model.manifest;
  const grey = centre(stage.drawing.raster(), height, width, boxOf(data, height, width));
  const [low, high] = dataRange;
  const image = new Float32Array(height * width * channels);
  for (let i = 0; i < image.length; i++) image[i] = low + (high - low) * grey[Math.floor(i / channels)]!;
  return image;
}

function isDigits({ model, painter }: Running): boolean {
  const names = mainCondition(model.manifest)?.names;
  return painter.isInk && (!names || names.every((name) => /^\d$/.test(name)));
}
