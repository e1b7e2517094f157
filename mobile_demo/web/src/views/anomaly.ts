// How unusual an image is: its score among those of held-out examples, and what the model makes of it.

import { shownName } from "../conditions";
import { DrawingCanvas } from "../drawing";
import { el, newest } from "../dom";
import { isPicture } from "../ink";
import { everyClass, repeated } from "../latent";
import type { Model } from "../model";
import { classNames, defaultChoice, mainCondition, wantedNames } from "../model";
import { pictureInput, readPicture, takeDrops, wanted } from "../picture";
import { draw } from "../random";
import type { Running, Stage, View } from "../stage";
import { drawnImage } from "./draw";

const MOST_TRIED = 64;

export class AnomalyView implements View {
  readonly name = "anomaly";
  readonly label = "Anomaly";
  readonly music = false;
  readonly element: HTMLElement;
  private readonly canvas: DrawingCanvas;
  private readonly hint = el("p", { class: "hint" }, "Draw here, or take a picture");
  private readonly board = el("div", { class: "board" });
  private readonly wish = el("p", { class: "wish" });
  private readonly input = el("canvas", { role: "img", "aria-label": "The image as the model sees it" });
  private readonly output = el("canvas", { role: "img", "aria-label": "What the model makes of it" });
  private readonly verdict = el("p", { class: "verdict", "aria-live": "polite" }, " ");
  private readonly number = el("p", { class: "status" }, " ");
  private readonly needle = el("span", { class: "needle" });
  private readonly curve = el("canvas", { width: "600", height: "88", "aria-hidden": "true" });
  private readonly gauge = el("div", { class: "gauge" }, this.curve, this.needle);
  private running: Running | null = null;
  /** Null: the drawing is looked at. */
  private image: Float32Array | null = null;
  private examples = 0;
  private readonly update = newest<void>(
    () => this.score(),
    (err) => this.stage.fail(err, this.running?.model),
  );

  constructor(private readonly stage: Stage) {
    this.canvas = new DrawingCanvas(stage.drawing, "Drawing area: what is drawn here is scored", {
      start: () => {
        if (!this.image) return;
        this.image = null;
        stage.drawing.set([]);
      },
      end: () => this.update(),
    });
    stage.drawing.addEventListener("change", () => {
      this.hint.hidden = !stage.drawing.isEmpty;
      if (this.running && !this.element.hidden) this.update();
    });
    const file = pictureInput("Picture from this device", (picked) => void this.pick(picked));
    const pick = el("button", { type: "button", class: "quiet", click: () => file.click() }, "Picture");
    const example = el("button", { type: "button", class: "quiet", click: () => void this.example() }, "Example");
    const noise = el("button", { type: "button", class: "quiet", click: () => this.noise() }, "Noise");
    const clear = el(
      "button",
      {
        type: "button",
        class: "quiet",
        click: () => {
          this.image = null;
          stage.drawing.set([]);
          this.blank();
        },
      },
      "Clear",
    );
    this.board.append(this.canvas.element, this.hint);
    this.element = el(
      "section",
      { class: "view anomaly", id: "view-anomaly", role: "tabpanel", "aria-labelledby": "tab-anomaly" },
      el("div", { class: "intro" }, el("h2", {}, "How unusual is it?"), this.number),
      this.board,
      this.wish,
      el("div", { class: "actions" }, clear, pick, example, noise, file),
      el(
        "div",
        { class: "result" },
        this.verdict,
        this.gauge,
        el(
          "div",
          { class: "pair" },
          el("figure", {}, this.input, el("figcaption", {}, "as the model sees it")),
          el("figure", {}, this.output, el("figcaption", {}, "as it would draw it")),
        ),
      ),
    );
    takeDrops(this.element, (picked) => void this.pick(picked));
  }

  fits(model: Model): boolean {
    return isPicture(model.manifest) && model.has("scorer");
  }

  show(running: Running): void {
    if (this.running && this.running.model !== running.model && this.image?.length !== running.painter.pixels) this.image = null;
    this.running = running;
    // Who has no handwriting to show is asked for a picture.
    const { isInk } = running.painter;
    this.board.hidden = !isInk;
    this.wish.hidden = isInk;
    this.wish.textContent = `Take, choose or drop a picture: ${wanted(wantedNames(running.model.manifest))}.`;
    if (!isInk && !this.image) return void this.example();
    this.canvas.paint();
    this.update();
  }

  hide(): void {
    // Nothing moves here.
  }

  private blank(): void {
    this.verdict.textContent = this.number.textContent = " ";
    this.gauge.hidden = true;
    for (const canvas of [this.input, this.output]) canvas.width = canvas.height = 1;
  }

  private async score(): Promise<void> {
    if (!this.running) return;
    const { model, painter } = this.running;
    if (!this.image && (this.stage.drawing.isEmpty || !painter.isInk)) return this.blank();
    const x = this.image ?? drawnImage(this.stage, model);
    // As for a drawing's code, that class counts which suits the image best.
    const choices = everyClass(model.manifest, this.stage.choice).slice(0, MOST_TRIED);
    const { score, x: images, manifest } = await model.score(repeated(x, choices.length), choices);
    const best = score.indexOf(Math.min(...score));
    painter.paint(this.input, x);
    painter.paint(this.output, images, best);
    const value = score[best]!;
    const name = mainCondition(manifest)?.names[best];
    this.number.textContent = `Score ${value.toFixed(1)} nats${name === undefined ? "" : `, as ${shownName(name)}`}`;
    this.gauge.hidden = !manifest.scores;
    this.verdict.textContent = manifest.scores ? this.place(value, manifest.scores) : "";
  }

  /** Show a score among the percentiles, and say it in words. */
  private place(value: number, scores: Float64Array): string {
    const below = scores.findLastIndex((score) => score <= value);
    const [low, most, high] = [scores[0]!, scores[99]!, scores[100]!];
    // Beyond all but a hundredth of the training set the scale goes on for a third of the strip.
    const reach = (most - low) * 1.5 || 1;
    const at = (score: number) => Math.min(1, Math.max(0, (score - low) / reach));
    this.paintCurve(scores, at);
    this.needle.style.left = `${100 * at(value)}%`;
    this.element.dataset.percentile = String(below);
    if (value > high) return "Unlike anything it was trained on";
    if (below >= 99) return "Very unusual: among the oddest hundredth";
    if (below >= 90) return `Unusual: odder than ${below} % of real examples`;
    return below < 1 ? "As plain as it gets" : `Ordinary: odder than ${below} % of real examples`;
  }

  private paintCurve(scores: Float64Array, at: (score: number) => number): void {
    const { width, height } = this.curve;
    const context = this.curve.getContext("2d")!;
    const style = getComputedStyle(this.element);
    // How many examples lie at each place: smoothed, for a percentile is a step.
    const bins = new Float64Array(120);
    for (let i = 0; i < 100; i++) {
      const [from, to] = [at(scores[i]!), at(scores[i + 1]!)];
      for (let bin = 0; bin < bins.length; bin++) {
        const distance = (bin / bins.length - (from + to) / 2) / Math.max(0.018, to - from);
        bins[bin]! += Math.exp(-0.5 * distance * distance) / Math.max(0.018, to - from);
      }
    }
    const most = Math.max(...bins);
    context.clearRect(0, 0, width, height);
    context.fillStyle = style.getPropertyValue("--accent");
    context.beginPath();
    context.moveTo(0, height);
    bins.forEach((value, bin) => context.lineTo((bin / (bins.length - 1)) * width, height - 4 - (height - 8) * (value / most)));
    context.lineTo(width, height);
    context.fill();
  }

  private async pick(file: File): Promise<void> {
    if (!this.running) return;
    try {
      this.image = await readPicture(file, this.running.model.manifest);
      this.stage.drawing.set([]);
      this.hint.hidden = true;
      this.update();
    } catch (err) {
      this.stage.fail(err);
    }
  }

  /** One of the model's own samples. */
  private async example(): Promise<void> {
    if (!this.running) return;
    const { model } = this.running;
    try {
      const main = mainCondition(model.manifest);
      const n = this.examples++;
      const choice = { ...defaultChoice(model.manifest), ...(main ? { [main.name]: (n * 7 + 2) % classNames(main).length } : {}) };
      this.image = await model.sample([choice], n, 0.8);
      this.stage.drawing.set([]);
      this.update();
    } catch (err) {
      this.stage.fail(err, model);
    }
  }

  private noise(): void {
    if (!this.running) return;
    const { height, width, channels, dataRange } = this.running.model.manifest;
    const noise = draw(this.examples++, height * width * channels, 1);
    this.image = noise.map((value) => dataRange[0] + (dataRange[1] - dataRange[0]) * Math.min(1, Math.abs(value) / 2));
    this.stage.drawing.set([]);
    this.update();
  }
}
