// Samples of a class and a seed: the same images as Python's for the same seed.

import { commandOf } from "../command";
import { ALL, classButtons, classOptions, otherConditions } from "../conditions";
import { el, newest } from "../dom";
import { isPicture } from "../ink";
import type { Link } from "../link";
import { MOST_IMAGES } from "../link";
import type { Choice, Model } from "../model";
import { classNames, mainCondition } from "../model";
import { SeedFields, prove } from "../seed_fields";
import { copyLink, saveSheet } from "../share";
import type { Running, Stage, View } from "../stage";
import { markFirstImage } from "../timing";

export class SampleView implements View {
  readonly name = "sample";
  readonly label = "Sample";
  readonly music = false;
  readonly element: HTMLElement;
  private readonly classes = classButtons(() => this.update());
  private readonly others = el("div", { class: "others" });
  private readonly fields = new SeedFields(MOST_IMAGES, 16, () => this.update());
  private readonly images = el("div", { class: "samples", role: "img" });
  private readonly command = el("code");
  private readonly proof = el("p", { class: "proof" }, "Checking …");
  private running: Running | null = null;
  private shown: { images: Float32Array; seed: number } | null = null;
  private wanted: Link | null = null;
  private readonly update = newest<void>(
    () => this.paint(),
    (err) => this.stage.fail(err, this.running?.model),
  );

  constructor(private readonly stage: Stage) {
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
        this.fields.element,
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
      this.others.replaceChildren(...otherConditions(this.stage, manifest, () => this.update()));
      this.running = running;
      void prove(this.stage, running.model, this.proof);
    }
    if (this.wanted) {
      const { seed, count, classes } = this.wanted;
      const main = mainCondition(running.model.manifest);
      if (main && classes[main.name] !== undefined) this.classes.mark(String(main.names.indexOf(classes[main.name]!)));
      else if (main && (seed !== null || count !== null)) this.classes.mark(ALL);
      this.fields.take(this.wanted);
      this.wanted = null;
    }
    this.update();
  }

  hide(): void {
    // Nothing moves here.
  }

  private async paint(): Promise<void> {
    const { asked } = this.fields;
    if (!this.running || !asked) return;
    const { model, painter } = this.running;
    const main = mainCondition(model.manifest);
    const { count, seed, temperature } = asked;
    const all = main !== null && this.classes.value === ALL;
    const rows = all ? classNames(main).map((_, i) => i) : [main ? Number(this.classes.value) : 0];
    const each = all ? Math.max(1, Math.min(count, Math.floor(256 / rows.length))) : count;
    const choices = rows.flatMap((i) => Array<Choice>(each).fill(main ? { ...this.stage.choice, [main.name]: i } : this.stage.choice));
    const images = await model.sample(choices, seed, temperature);
    this.shown = { images, seed };
    const columns = all ? each : Math.ceil(Math.sqrt(count));
    this.images.style.setProperty("--columns", String(columns));
    while (this.images.children.length > choices.length) this.images.lastChild!.remove();
    while (this.images.children.length < choices.length) this.images.append(el("canvas"));
    [...this.images.children].forEach((canvas, i) => painter.paint(canvas as HTMLCanvasElement, images, i));
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

  private async save(): Promise<void> {
    if (!this.running || !this.shown) return;
    const columns = Number(this.images.style.getPropertyValue("--columns"));
    const { images, seed } = this.shown;
    await saveSheet(this.stage, images, columns, `seed-${seed}.png`);
  }
}
