// Two pictures of a person's own: each read as a code, shown in every class, and what lies between them.

import { shownName } from "../conditions";
import { el, newest } from "../dom";
import { isInk, isPicture } from "../ink";
import { between, inEveryClass, mix, read, tileNames } from "../latent";
import type { Place } from "../latent";
import type { Model } from "../model";
import { classNames, defaultChoice, mainCondition, wantedNames } from "../model";
import { pictureInput, readPicture, takeDrops, wanted } from "../picture";
import { saveSheet } from "../share";
import type { Running, Stage, View } from "../stage";
import { markFirstImage } from "../timing";

const NAMES = ["first", "second"] as const;
const COOL = 0.8;

/** One of the two. */
interface Slot {
  canvas: HTMLCanvasElement;
  caption: HTMLElement;
  image: Float32Array | null;
  place: Place | null;
  /** The class a person said it is. */
  told: number | null;
}

export class PictureView implements View {
  readonly name = "picture";
  readonly label = "Picture";
  readonly music = false;
  readonly element: HTMLElement;
  private readonly status = el("p", { class: "status", "aria-live": "polite" }, " ");
  private readonly slots: [Slot, Slot] = [newSlot(), newSlot()];
  private readonly middle = el("canvas", { role: "img", "aria-label": "What lies between the two pictures" });
  private readonly time = el("input", { type: "range", min: "0", max: "1", step: "0.01", value: "0", "aria-label": "How far from the first to the second picture" });
  private readonly tiles = el("div", { class: "tiles" });
  private running: Running | null = null;
  private shown: Float32Array | null = null;
  private examples = 0;
  private readonly fail = (err: unknown) => this.stage.fail(err, this.running?.model);
  private readonly update = newest<void>(() => this.readBoth(), this.fail);
  private readonly step = newest<number>((time) => this.paintAt(time), this.fail);

  constructor(private readonly stage: Stage) {
    this.time.addEventListener("input", () => this.step(this.time.valueAsNumber));
    const [first, second] = this.slots.map((slot, i) => this.layOut(slot, NAMES[i]!));
    const others = el("button", { type: "button", class: "quiet", click: () => void this.takeExamples() }, "Other examples");
    const save = el("button", { type: "button", class: "quiet", click: () => void this.save() }, "Save");
    this.element = el(
      "section",
      { class: "view picture", id: "view-picture", role: "tabpanel", "aria-labelledby": "tab-picture" },
      el("div", { class: "intro" }, el("h2", {}, "From one picture to another"), this.status),
      el("div", { class: "trio" }, first!, el("figure", {}, this.middle, el("figcaption", {}, "in between")), second!),
      this.time,
      el("div", { class: "actions" }, others, save),
      this.tiles,
    );
  }

  fits(model: Model): boolean {
    return !isInk(model.manifest) && isPicture(model.manifest) && model.has("decoder") && model.has("encoder");
  }

  show(running: Running): void {
    const isNew = this.running?.model !== running.model;
    this.running = running;
    if (!isNew) return this.update();
    const { manifest } = running.model;
    const isAnother = this.slots.some(({ image }) => image?.length !== running.painter.pixels);
    for (const slot of this.slots) {
      slot.place = null;
      if (isAnother) slot.told = null;
    }
    this.status.textContent = `Press a picture to take or choose your own, or drop one on it: ${wanted(wantedNames(manifest))}.`;
    const names = tileNames(manifest, "your picture");
    this.tiles.classList.toggle("long", names.some((name) => name.length > 3));
    this.tiles.replaceChildren(...names.map((name, i) => this.tile(name, i)));
    if (isAnother) void this.takeExamples();
    else this.update();
  }

  hide(): void {
    // Nothing moves here.
  }

  private layOut(slot: Slot, name: string): HTMLElement {
    const take = (file: File) => void this.take(slot, file);
    const input = pictureInput(`The ${name} picture`, take);
    const button = el(
      "button",
      { type: "button", class: "slot", "aria-label": `The ${name} picture: take or choose another`, click: () => input.click() },
      slot.canvas,
    );
    takeDrops(button, take);
    return el("figure", {}, button, input, slot.caption);
  }

  private tile(name: string, index: number): HTMLElement {
    const isClass = mainCondition(this.running!.model.manifest) !== null;
    return el(
      "button",
      {
        type: "button",
        class: "tile",
        "aria-label": isClass ? `As ${name}; press if this is what the nearer picture shows` : name,
        "aria-pressed": "false",
        disabled: !isClass,
        click: () => this.tell(index),
      },
      el("canvas", { "aria-hidden": "true" }),
      el("span", {}, shownName(name)),
    );
  }

  private get nearer(): Slot {
    return this.slots[this.time.valueAsNumber > 0.5 ? 1 : 0];
  }

  private tell(index: number): void {
    const slot = this.nearer;
    slot.told = slot.told === index ? null : index;
    slot.place = null;
    this.update();
  }

  private async take(slot: Slot, file: File): Promise<void> {
    if (!this.running) return;
    try {
      slot.image = await readPicture(file, this.running.model.manifest);
      slot.place = slot.told = null;
      slot.caption.textContent = "yours";
      this.time.value = slot === this.slots[0] ? "0" : "1";
      this.update();
    } catch (err) {
      this.stage.fail(err);
    }
  }

  /** Two of the model's own samples, of two classes. */
  private async takeExamples(): Promise<void> {
    if (!this.running) return;
    const { model } = this.running;
    try {
      const main = mainCondition(model.manifest);
      const seed = this.examples++;
      const classes = [seed * 7 + 2, seed * 7 + 3];
      const choices = classes.map((n) => ({ ...defaultChoice(model.manifest), ...(main ? { [main.name]: n % classNames(main).length } : {}) }));
      const images = await model.sample(choices, seed, COOL);
      this.slots.forEach((slot, i) => {
        slot.image = images.slice((i * images.length) / 2, ((i + 1) * images.length) / 2);
        slot.place = null;
        slot.told = main && classes[i]! % classNames(main).length;
        slot.caption.textContent = "an example";
      });
      this.time.value = "0";
      this.update();
    } catch (err) {
      this.stage.fail(err, model);
    }
  }

  private async readBoth(): Promise<void> {
    if (!this.running) return;
    const { model, painter } = this.running;
    const main = mainCondition(model.manifest);
    for (const slot of this.slots) {
      if (!slot.image) return;
      painter.paint(slot.canvas, slot.image);
      if (slot.place) continue;
      const { z, read: label } = await read(model, slot.image, this.stage.choice, slot.told);
      slot.place = { z, choice: main && label !== null ? { ...this.stage.choice, [main.name]: label } : this.stage.choice };
    }
    await this.paintAt(this.time.valueAsNumber);
  }

  private async paintAt(time: number): Promise<void> {
    const [from, to] = this.slots.map(({ place }) => place);
    if (!this.running || !from || !to) return;
    const { model, painter } = this.running;
    const main = mainCondition(model.manifest);
    painter.paint(this.middle, await between(model, from, to, time));
    this.shown = await inEveryClass(model, mix(from.z, to.z, time), this.stage.choice);
    const label = main && (this.nearer.place!.choice[main.name] as number);
    [...this.tiles.children].forEach((tile, i) => {
      painter.paint(tile.querySelector("canvas")!, this.shown!, i);
      tile.setAttribute("aria-pressed", String(i === label));
    });
    this.time.setAttribute("aria-valuetext", `${Math.round(100 * time)} % of the way`);
    markFirstImage();
  }

  private async save(): Promise<void> {
    if (this.running && this.shown) await saveSheet(this.stage, this.shown, 5, "in-every-class.png");
  }
}

function newSlot(): Slot {
  return { canvas: el("canvas", { "aria-hidden": "true" }), caption: el("figcaption"), image: null, place: null, told: null };
}
