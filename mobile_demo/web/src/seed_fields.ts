// What drawing by a seed asks for: how many, the seed, how warm; and the proof that a seed is one.

import { el } from "./dom";
import { describe } from "./facts";
import type { Link } from "./link";
import { HOTTEST } from "./link";
import type { Model } from "./model";
import { SEEDS, anySeed } from "./random";
import type { Stage } from "./stage";

export interface Asked {
  count: number;
  seed: number;
  temperature: number;
}

/** The fields of a view that draws by a seed. */
export class SeedFields {
  readonly element: HTMLElement;
  private readonly count: HTMLInputElement;
  private readonly seed = el("input", { type: "number", min: "0", max: String(SEEDS - 1), step: "1", value: "42", inputmode: "numeric" });
  private readonly temperature = el("input", { type: "range", min: "0", max: String(HOTTEST), step: "0.05", value: "1" });
  private readonly warmth = el("output", {}, "1");

  constructor(most: number, count: number, private readonly onChange: () => void) {
    this.count = el("input", { type: "number", min: "1", max: String(most), step: "1", value: String(count), inputmode: "numeric" });
    for (const input of [this.count, this.seed, this.temperature]) input.addEventListener("input", () => this.changed());
    const dice = el("button", { type: "button", "aria-label": "Another seed", click: () => this.roll() }, "⚄");
    this.element = el(
      "div",
      { class: "fields" },
      el("label", { class: "field" }, "count", this.count),
      el("div", { class: "field" }, el("label", { class: "field" }, "seed", this.seed), dice),
      el("label", { class: "field wide" }, "temperature", this.temperature, this.warmth),
    );
  }

  /** What the fields say, or null while one of them says nothing that can be drawn. */
  get asked(): Asked | null {
    if (this.count.ariaInvalid === "true" || this.seed.ariaInvalid === "true") return null;
    return { count: this.count.valueAsNumber, seed: this.seed.valueAsNumber, temperature: this.temperature.valueAsNumber };
  }

  /** Say what a link says. */
  take({ seed, temperature, count }: Link): void {
    if (seed !== null) this.seed.value = String(seed);
    if (count !== null) this.count.value = String(count);
    if (temperature !== null) this.temperature.value = String(temperature);
    this.mark();
  }

  private changed(): void {
    this.mark();
    this.onChange();
  }

  private mark(): void {
    this.warmth.textContent = String(this.temperature.valueAsNumber);
    for (const input of [this.count, this.seed]) {
      input.setAttribute("aria-invalid", String(!(input.value !== "" && input.validity.valid)));
    }
  }

  private roll(): void {
    this.seed.value = String(anySeed());
    this.changed();
  }
}

/** Let a model check itself by its golden sample, and say what came out. */
export async function prove(stage: Stage, model: Model, proof: HTMLElement): Promise<void> {
  try {
    const result = await model.generator.selfTest();
    proof.textContent = describe(result);
    proof.classList.toggle("bad", !result.passed);
  } catch (err) {
    stage.fail(err, model);
  }
}
