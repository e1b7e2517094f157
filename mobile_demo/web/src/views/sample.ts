// Samples of a class and a seed: the same images as Python's for the same seed.

import { commandOf } from "../command";
import { ALL, classButtons, classOptions, otherConditions } from "../conditions";
import { el, newest } from "../dom";
import { describe } from "../facts";
import { isPicture } from "../ink";
import type { Link } from "../link";
import { HOTTEST, MOST_IMAGES } from "../link";
import type { Choice, Model } from "../model";
import { mainCondition } from "../model";
import { SEEDS } from "../random";
import { copyLink, saveSheet } from "../share";
import type { Running, Stage, View } from "../stage";
import { markFirstImage } from "../timing";

export class SampleView implements View {
  readonly name = "sample";
  readonly label = "Sample";
  readonly music = false;
  readonly element: HTMLElement;
  private readonly classes = classButtons(() => this.changed());
  private readonly others = el("div", { class: "others" });
  private readonly count = el("input", { type: "number", min: "1", max: String(MOST_IMAGES), step: "1", value: "16", inputmode: "numeric" });
  private readonly seed = el("input", { type: "number", min: "0", max: String(SEEDS - 1), step: "1", value: "42", inputmode: "numeric" });
  private readonly temperature = el("input", { type: "range", min: "0", max: String(HOTTEST), step: "0.05", value: "1" });
  private readonly warmth = el("output", {}, "1");
  private readonly images = el("div", { class: "samples", role: "img" });
  private readonly command = el("code");
  private readonly proof = el("p", { class: "proof" }, "Checking …");
  private running: Running | null = null;
  private shown: Float32Array | null = null;
  private wanted: Link | null = null;
  private readonly update = newest<void>(
    () => this.paint(),
    (err) => this.stage.fail(err, this.running?.model),
  );

  constructor(private readonly stage: Stage) {
    for (const input of [this.count, this.seed, this.temperature]) input.addEventListener("input", () => this.changed());
    const dice = el("button", { type: "button", "aria-label": "Another seed", click: () => this.roll() }, "⚄");
    const save = el("button", { type: "button", class: "quiet", click: () => void this.save() }, "Save");
    const link = el("button", { type: "button", class: "quiet", click: () => void copyLink(stage, "shows the same images") }, "Copy link");
    this.element = el(
      "section",
      { class: "view sample", id: "view-sample", role: "tabpanel", "aria-labelledby": "tab-sample" },
      el("div", { class: "intro" }, el("h2", {}, "A seed makes the same images everywhere"), this.proof),
      this.classes.element,
      this.images,
      el(
        "div",
        { class: "controls" },
        this.others,
        el(
          "div",
          { class: "fields" },
          el("label", { class: "field" }, "count", this.count),
          el("div", { class: "field" }, el("label", { class: "field" }, "seed", this.seed), dice),
          el("label", { class: "field wide" }, "temperature", this.temperature, this.warmth),
        ),
      ),
      el("div", { class: "actions" }, link, save),
      el("p", { class: "command" }, el("span", {}, "The same on a computer"), this.command),
    );
  }

  fits(model: Model): boolean {
    return isPicture(model.manifest);
  }

  want(link: Link): void {
    this.wanted = link;
  }

  show(running: Running): void {
    if (this.running?.model !== running.model) {
      const { manifest } = running.model;
      const main = mainCondition(manifest);
      const before = this.running ? this.classes.value : main ? String(this.stage.choice[main.name]) : "";
      const options = classOptions(main);
      this.classes.set([...options, { value: ALL, label: "all" }], main && Number(before) < main.size ? before : ALL);
      this.classes.element.hidden = !main;
      this.others.replaceChildren(...otherConditions(this.stage, manifest, () => this.changed()));
      this.running = running;
      void this.prove(running.model);
    }
    if (this.wanted) {
      const { seed, temperature, count, classes } = this.wanted;
      const main = mainCondition(running.model.manifest);
      if (main && classes[main.name] !== undefined) this.classes.mark(String(main.names.indexOf(classes[main.name]!)));
      else if (main && (seed !== null || count !== null)) this.classes.mark(ALL);
      if (seed !== null) this.seed.value = String(seed);
      if (count !== null) this.count.value = String(count);
      if (temperature !== null) this.temperature.value = String(temperature);
      this.wanted = null;
    }
    this.changed();
  }

  hide(): void {
    // Nothing moves here.
  }

  private changed(): void {
    this.warmth.textContent = String(this.temperature.valueAsNumber);
    for (const input of [this.count, this.seed]) {
      input.setAttribute("aria-invalid", String(!(input.value !== "" && input.validity.valid)));
    }
    this.update();
  }

  private async paint(): Promise<void> {
    if (!this.running || this.count.ariaInvalid === "true" || this.seed.ariaInvalid === "true") return;
    const { model, painter } = this.running;
    const main = mainCondition(model.manifest);
    const [count, seed, temperature] = [this.count.valueAsNumber, this.seed.valueAsNumber, this.temperature.valueAsNumber];
    const all = main !== null && this.classes.value === ALL;
    const rows = all ? main.names.map((_, i) => i) : [main ? Number(this.classes.value) : 0];
    const each = all ? Math.max(1, Math.min(count, Math.floor(256 / rows.length))) : count;
    const choices = rows.flatMap((i) => Array<Choice>(each).fill(main ? { ...this.stage.choice, [main.name]: i } : this.stage.choice));
    this.shown = await model.sample(choices, seed, temperature);
    const columns = all ? each : Math.ceil(Math.sqrt(count));
    this.images.style.setProperty("--columns", String(columns));
    while (this.images.children.length > choices.length) this.images.lastChild!.remove();
    while (this.images.children.length < choices.length) this.images.append(el("canvas"));
    [...this.images.children].forEach((canvas, i) => painter.paint(canvas as HTMLCanvasElement, this.shown!, i));
    const label = main ? (all ? "" : main.names[rows[0]!]!) : "";
    this.images.setAttribute("aria-label", `${choices.length} images${label && ` of ${label}`}, seed ${seed}`);
    this.command.textContent = commandOf({
      file: model.path,
      conditions: model.manifest.conditions,
      choice: choices[0]!,
      all: all ? main.name : null,
      count: each,
      seed,
      temperature,
    });
    const classes: Record<string, string> = main && !all ? { [main.name]: label } : {};
    this.stage.setLink(this, { classes, seed, temperature, count });
    markFirstImage();
  }

  private roll(): void {
    this.seed.value = String(crypto.getRandomValues(new Uint32Array(1))[0]! >>> 1);
    this.changed();
  }

  private async prove(model: Model): Promise<void> {
    try {
      const result = await model.generator.selfTest();
      this.proof.textContent = describe(result);
      this.proof.classList.toggle("bad", !result.passed);
    } catch (err) {
      this.stage.fail(err, model);
    }
  }

  private async save(): Promise<void> {
    if (!this.running || !this.shown) return;
    const columns = Number(this.images.style.getPropertyValue("--columns"));
    await saveSheet(this.stage, this.shown, columns, `seed-${this.seed.value}.png`);
  }
}
