// Rows of a table, drawn by a seed under conditions: looked at, and taken along as a CSV file.

import { commandOf } from "../command";
import { el, newest } from "../dom";
import { given } from "../engines/engine";
import { describe } from "../facts";
import type { Link } from "../link";
import { HOTTEST, MOST_ROWS } from "../link";
import type { Column, Manifest } from "../manifest";
import type { Choice, Model } from "../model";
import { SEEDS } from "../random";
import { copyLink, shareOrSave } from "../share";
import type { Running, Stage, View } from "../stage";
import { csvOf, shownValue } from "../table";
import { markFirstImage } from "../timing";

/** Rows that are shown; the file has all. */
const SHOWN = 50;
const DIGITS = 5;

export class RowsView implements View {
  readonly name = "rows";
  readonly label = "Rows";
  readonly music = false;
  readonly table = true;
  readonly element: HTMLElement;
  private readonly conditions = el("div", { class: "others" });
  private readonly count = el("input", { type: "number", min: "1", max: String(MOST_ROWS), step: "1", value: "20", inputmode: "numeric" });
  private readonly seed = el("input", { type: "number", min: "0", max: String(SEEDS - 1), step: "1", value: "42", inputmode: "numeric" });
  private readonly temperature = el("input", { type: "range", min: "0", max: String(HOTTEST), step: "0.05", value: "1" });
  private readonly warmth = el("output", {}, "1");
  private readonly grid = el("table");
  private readonly caption = el("caption", { "aria-live": "polite" });
  private readonly command = el("code");
  private readonly proof = el("p", { class: "proof" }, "Checking …");
  private running: Running | null = null;
  private wanted: Link | null = null;
  private shown: { columns: Column[]; values: ArrayLike<number>[]; rows: number } | null = null;
  private readonly update = newest<void>(
    () => this.draw(),
    (err) => this.stage.fail(err, this.running?.model),
  );

  constructor(private readonly stage: Stage) {
    for (const input of [this.count, this.seed, this.temperature]) input.addEventListener("input", () => this.changed());
    const dice = el("button", { type: "button", "aria-label": "Another seed", click: () => this.roll() }, "⚄");
    const save = el("button", { type: "button", class: "quiet", click: () => void this.save() }, "Save as CSV");
    const link = el("button", { type: "button", class: "quiet", click: () => void copyLink(stage, "shows the same rows") }, "Copy link");
    this.element = el(
      "section",
      { class: "view table", id: "view-rows", role: "tabpanel", "aria-labelledby": "tab-rows" },
      el("div", { class: "intro" }, el("h2", {}, "A seed makes the same rows everywhere"), this.proof),
      el(
        "div",
        { class: "controls" },
        this.conditions,
        el(
          "div",
          { class: "fields" },
          el("label", { class: "field" }, "count", this.count),
          el("div", { class: "field" }, el("label", { class: "field" }, "seed", this.seed), dice),
          el("label", { class: "field wide" }, "temperature", this.temperature, this.warmth),
        ),
      ),
      el("div", { class: "grid", role: "region", "aria-label": "Drawn rows", tabindex: "0" }, this.grid),
      el("div", { class: "actions" }, link, save),
      el("p", { class: "command" }, el("span", {}, "The same on a computer"), this.command),
    );
  }

  fits(model: Model): boolean {
    return model.manifest.table !== null && model.has("sampler");
  }

  want(link: Link): void {
    this.wanted = link;
  }

  show(running: Running): void {
    const isNew = this.running?.model !== running.model;
    this.running = running;
    if (this.wanted) {
      const { seed, temperature, count } = this.wanted;
      if (seed !== null) this.seed.value = String(seed);
      if (count !== null) this.count.value = String(count);
      if (temperature !== null) this.temperature.value = String(temperature);
    }
    if (isNew || this.wanted) this.conditions.replaceChildren(...conditionFields(this.stage, running.model.manifest, () => this.changed()));
    this.wanted = null;
    if (isNew) void this.prove(running.model);
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

  private async draw(): Promise<void> {
    if (!this.running || this.count.ariaInvalid === "true" || this.seed.ariaInvalid === "true") return;
    const { model } = this.running;
    const { manifest } = model;
    const [rows, seed, temperature] = [this.count.valueAsNumber, this.seed.valueAsNumber, this.temperature.valueAsNumber];
    const choice: Choice = { ...this.stage.choice };
    const made = await model.draw(Array<Choice>(rows).fill(choice), { seed, temperature, tokenTemperature: 1 });
    const columns = manifest.table!.columns;
    const own = new Set(given(manifest).map(({ name }) => name));
    const values = columns.map(({ name, port }) => {
      if (own.has(name)) return made[port]!;
      const value = choice[name] ?? NaN;
      return new Float64Array(rows).fill(Array.isArray(value) ? value[0]! : value);
    });
    this.shown = { columns, values, rows };
    this.paint(seed);
    const classes = Object.fromEntries(
      manifest.conditions.filter(({ names, name }) => names[choice[name] as number] !== undefined).map(({ names, name }) => [name, names[choice[name] as number]!]),
    );
    const asked = { file: model.path, conditions: manifest.conditions, choice, all: null, count: rows, seed, temperature };
    this.command.textContent = `${commandOf(asked)} --out rows.csv`;
    this.stage.setLink(this, { classes, seed, temperature, count: rows });
    markFirstImage();
  }

  private paint(seed: number): void {
    const { columns, values, rows } = this.shown!;
    const shown = Math.min(rows, SHOWN);
    const left = rows > shown ? `, the first ${shown} shown` : "";
    this.caption.textContent = `${rows.toLocaleString("en")} ${rows === 1 ? "row" : "rows"} of seed ${seed}${left}`;
    const head = el("tr", {}, ...columns.map(({ name, names, unit }) => el("th", { scope: "col", class: names.length ? "" : "number" }, unit ? `${name} (${unit})` : name)));
    const body = Array.from({ length: shown }, (_, row) =>
      el("tr", {}, ...columns.map((column, i) => el("td", { class: column.names.length ? "" : "number" }, shownValue(column, values[i]![row]!, DIGITS)))),
    );
    this.grid.replaceChildren(this.caption, el("thead", {}, head), el("tbody", {}, ...body));
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
    if (!this.shown) return;
    const { columns, values, rows } = this.shown;
    try {
      const name = `rows-seed-${this.seed.value}.csv`;
      const outcome = await shareOrSave(new Blob([csvOf(columns, values, rows)], { type: "text/csv" }), name);
      if (outcome === "saved") this.stage.notice(`Saved as ${name}.`);
    } catch (err) {
      this.stage.fail(err);
    }
  }
}

/** A field for each condition of a table: its names, or a number in units. */
export function conditionFields(stage: Stage, manifest: Manifest, onChange: () => void): HTMLElement[] {
  return manifest.conditions.map(({ name, names }) => {
    const column = manifest.table!.columns.find((one) => one.name === name)!;
    if (names.length) {
      const options = names.map((label, i) => el("option", { value: String(i) }, label));
      const select = el("select", { "aria-label": name }, ...options, el("option", { value: "-1" }, "unknown"));
      select.value = String(stage.choice[name] ?? 0);
      select.addEventListener("change", () => {
        stage.choice[name] = Number(select.value);
        onChange();
      });
      return el("label", { class: "field" }, name, select);
    }
    const { low, high, whole, unit } = column;
    const [given] = stage.choice[name] as number[];
    const start = given! >= low && given! <= high ? given! : whole ? Math.round((low + high) / 2) : (low + high) / 2;
    stage.choice[name] = [start];
    const input = el("input", { type: "number", min: String(low), max: String(high), step: whole ? "1" : "any", value: String(start), inputmode: "decimal" });
    input.addEventListener("input", () => {
      input.setAttribute("aria-invalid", String(!(input.value !== "" && input.validity.valid)));
      if (input.ariaInvalid === "true") return;
      stage.choice[name] = [input.valueAsNumber];
      onChange();
    });
    return el("label", { class: "field" }, unit ? `${name} (${unit})` : name, input);
  });
}
