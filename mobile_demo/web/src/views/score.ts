// How unusual a row of a table is, and which of its columns make it so.

import { el, newest } from "../dom";
import type { Column, Manifest } from "../manifest";
import type { Tensors } from "../engines/engine";
import type { Model } from "../model";
import type { Running, Stage, View } from "../stage";
import { shownValue } from "../table";

/** Columns that are named for what they add to the score, and the least of it, in nats. */
const [MOST_NAMED, LEAST_NAMED] = [5, 0.5];

export class ScoreView implements View {
  readonly name = "score";
  readonly label = "Score";
  readonly music = false;
  readonly table = true;
  readonly element: HTMLElement;
  private readonly form = el("div", { class: "row" });
  private readonly verdict = el("p", { class: "verdict", "aria-live": "polite" }, " ");
  private readonly number = el("p", { class: "status" }, " ");
  private readonly odd = el("ol", { class: "odd" });
  private running: Running | null = null;
  private examples = 0;
  /** What is in the fields, NaN where nothing is. */
  private values = new Map<string, number>();
  private readonly update = newest<void>(
    () => this.score(),
    (err) => this.stage.fail(err, this.running?.model),
  );

  constructor(private readonly stage: Stage) {
    const example = el("button", { type: "button", class: "quiet", click: () => void this.example() }, "Example");
    const clear = el("button", { type: "button", class: "quiet", click: () => this.clear() }, "Clear");
    this.element = el(
      "section",
      { class: "view table", id: "view-score", role: "tabpanel", "aria-labelledby": "tab-score" },
      el("div", { class: "intro" }, el("h2", {}, "How unusual is a row?"), this.number),
      el("div", { class: "result" }, this.verdict, this.odd),
      el("div", { class: "actions" }, clear, example),
      this.form,
    );
  }

  fits(model: Model): boolean {
    return model.manifest.table !== null && model.has("scorer");
  }

  show(running: Running): void {
    const isNew = this.running?.model !== running.model;
    this.running = running;
    if (!isNew) return this.update();
    if (running.model.has("sampler")) void this.example();
    else this.clear();
  }

  hide(): void {
    // Nothing moves here.
  }

  private fill(): void {
    const { manifest } = this.running!.model;
    this.form.replaceChildren(...manifest.table!.columns.map((column) => this.field(column, isCondition(manifest, column))));
    this.update();
  }

  private field(column: Column, isGiven: boolean): HTMLElement {
    const { name, names, low, high, whole, unit } = column;
    const value = this.values.get(name) ?? NaN;
    const set = (given: number) => {
      this.values.set(name, given);
      this.update();
    };
    const label = unit ? `${name} (${unit})` : name;
    if (names.length) {
      const none = el("option", { value: "" }, isGiven ? "unknown" : "missing");
      const select = el("select", {}, none, ...names.map((one, i) => el("option", { value: String(i) }, one)));
      select.value = Number.isNaN(value) ? "" : String(value);
      select.addEventListener("change", () => set(select.value === "" ? NaN : Number(select.value)));
      return el("label", { class: "field" }, label, select);
    }
    const input = el("input", { type: "number", step: whole ? "1" : "any", value: shownValue(column, value), placeholder: isGiven ? "" : "missing", inputmode: "decimal" });
    input.addEventListener("input", () => {
      // Beyond what the column had, a row is what it is: unusual. A condition is within, and is known.
      input.setAttribute("aria-invalid", String(!input.validity.valid || (isGiven && input.value === "")));
      if (input.ariaInvalid !== "true") set(input.valueAsNumber);
    });
    if (isGiven) {
      input.min = String(low);
      input.max = String(high);
    }
    return el("label", { class: "field" }, label, input);
  }

  /** One of the model's own rows, of the conditions that were asked for. */
  private async example(): Promise<void> {
    const { model } = this.running!;
    try {
      const { manifest } = model;
      const choice = { ...this.stage.choice };
      const made = await model.draw([choice], { seed: this.examples++, temperature: 1, tokenTemperature: 1 });
      if (model !== this.running?.model) return;
      for (const column of manifest.table!.columns) {
        const given = [choice[column.name] ?? NaN].flat()[0]!;
        const value = isCondition(manifest, column) ? (column.names.length && given < 0 ? NaN : given) : made[column.port]![0]!;
        this.values.set(column.name, column.names.length || column.whole ? value : Number(value.toPrecision(5)));
      }
      this.fill();
    } catch (err) {
      this.stage.fail(err, model);
    }
  }

  private clear(): void {
    const { manifest } = this.running!.model;
    this.values = new Map(
      manifest.table!.columns.map((column) => {
        const isNumber = isCondition(manifest, column) && column.names.length === 0;
        return [column.name, isNumber ? Math.round((column.low + column.high) / 2) : NaN];
      }),
    );
    this.fill();
  }

  private async score(): Promise<void> {
    if (!this.running) return;
    const { model } = this.running;
    const { manifest } = await model.graph("scorer");
    const columns = manifest.table!.columns;
    const own = columns.filter((column) => !isCondition(manifest, column));
    const known = own.filter(({ name }) => !Number.isNaN(this.values.get(name) ?? NaN));
    // The row as it is, and once for each known column without it: what it adds to the score.
    const rows = known.length + 1;
    const inputs: Tensors = {};
    for (const column of columns) {
      const { name, names, port } = column;
      const value = this.values.get(name) ?? NaN;
      const without = known.indexOf(column) + 1;
      const all = Array.from({ length: rows }, (_, row) => (row > 0 && row === without ? NaN : value));
      const key = isCondition(manifest, column) ? name : port;
      inputs[key] = names.length ? Int32Array.from(all, (one) => (Number.isNaN(one) ? -1 : one)) : Float32Array.from(all);
    }
    const made = await model.scoreRows(inputs, rows);
    if (model !== this.running?.model) return;
    const score = made.score![0]!;
    this.number.textContent = `Score ${score.toFixed(1)} nats: the more, the less usual`;
    this.verdict.textContent = manifest.scores ? place(score, manifest.scores) : "";
    const added = known
      .map((column, i) => ({ column, nats: score - made.score![i + 1]!, expected: made[`${column.port}_reconstructed`]![i + 1]! }))
      .filter(({ nats }) => nats >= LEAST_NAMED)
      .sort((one, other) => other.nats - one.nats)
      .slice(0, MOST_NAMED);
    const most = Math.max(1, ...added.map(({ nats }) => nats));
    this.odd.replaceChildren(
      ...added.map(({ column, nats, expected }) => {
        const bar = el("span", { class: "bar" });
        bar.style.setProperty("--share", String(nats / most));
        return el(
          "li",
          {},
          el("span", {}, el("b", {}, column.name), ` ${shownValue(column, this.values.get(column.name)!)}`),
          el("span", { class: "expected" }, `expected ${shownValue(column, expected, 4)}`),
          el("span", { class: "nats" }, `+${nats.toFixed(1)}`),
          bar,
        );
      }),
    );
    this.odd.hidden = added.length === 0;
    this.stage.setLink(this, {});
  }
}

function isCondition(manifest: Manifest, { name }: Column): boolean {
  return manifest.conditions.some((one) => one.name === name);
}

/** A score among the percentiles of held-out rows, in words. */
function place(value: number, scores: Float64Array): string {
  const below = scores.findLastIndex((score) => score <= value);
  if (value > scores[100]!) return "Unlike any row that it was tested on";
  if (below >= 99) return "Very unusual: among the oddest hundredth";
  if (below >= 90) return `Unusual: odder than ${below} % of real rows`;
  return below < 1 ? "As plain as it gets" : `Ordinary: odder than ${below} % of real rows`;
}
