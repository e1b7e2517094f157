// Rows of a table, drawn by a seed under conditions: looked at, and taken along as a CSV file.

import { commandOf } from "../command";
import { el, newest } from "../dom";
import { given } from "../engines/engine";
import type { Link } from "../link";
import { MOST_ROWS } from "../link";
import type { Column, Manifest } from "../manifest";
import type { Choice, Model } from "../model";
import { SeedFields, prove } from "../seed_fields";
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
  private readonly fields = new SeedFields(MOST_ROWS, 20, () => this.update());
  private readonly grid = el("table");
  private readonly caption = el("caption", { "aria-live": "polite" });
  private readonly command = el("code");
  private readonly proof = el("p", { class: "proof" }, "Checking …");
  private running: Running | null = null;
  private wanted: Link | null = null;
  private shown: { columns: Column[]; values: ArrayLike<number>[]; rows: number; seed: number } | null = null;
  private readonly update = newest<void>(
    () => this.draw(),
    (err) => this.stage.fail(err, this.running?.model),
  );

  constructor(private readonly stage: Stage) {
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
        this.fields.element,
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
    if (this.wanted) this.fields.take(this.wanted);
    if (isNew || this.wanted) this.conditions.replaceChildren(...conditionFields(this.stage, running.model.manifest, () => this.update()));
    this.wanted = null;
    if (isNew) void prove(this.stage, running.model, this.proof);
    this.update();
  }

  hide(): void {
    // Nothing moves here.
  }

  private async draw(): Promise<void> {
    const { asked } = this.fields;
    if (!this.running || !asked) return;
    const { model } = this.running;
    const { manifest } = model;
    const { count: rows, seed, temperature } = asked;
    const choice: Choice = { ...this.stage.choice };
    const made = await model.draw(Array<Choice>(rows).fill(choice), { seed, temperature, tokenTemperature: 1 });
    const columns = manifest.table!.columns;
    const own = new Set(given(manifest).map(({ name }) => name));
    const values = columns.map(({ name, port }) => {
      if (own.has(name)) return made[port]!;
      const value = choice[name] ?? NaN;
      return new Float64Array(rows).fill(Array.isArray(value) ? value[0]! : value);
    });
    this.shown = { columns, values, rows, seed };
    this.paint();
    const classes = Object.fromEntries(
      manifest.conditions.filter(({ names, name }) => names[choice[name] as number] !== undefined).map(({ names, name }) => [name, names[choice[name] as number]!]),
    );
    const command = commandOf({ file: model.path, conditions: manifest.conditions, choice, all: null, count: rows, seed, temperature });
    this.command.textContent = `${command} --out rows.csv`;
    this.stage.setLink(this, { classes, seed, temperature, count: rows });
    markFirstImage();
  }

  private paint(): void {
    const { columns, values, rows, seed } = this.shown!;
    const shown = Math.min(rows, SHOWN);
    const left = rows > shown ? `, the first ${shown} shown` : "";
    this.caption.textContent = `${rows.toLocaleString("en")} ${rows === 1 ? "row" : "rows"} of seed ${seed}${left}`;
    const head = el("tr", {}, ...columns.map(({ name, names, unit }) => el("th", { scope: "col", class: names.length ? "" : "number" }, unit ? `${name} (${unit})` : name)));
    const body = Array.from({ length: shown }, (_, row) =>
      el("tr", {}, ...columns.map((column, i) => el("td", { class: column.names.length ? "" : "number" }, shownValue(column, values[i]![row]!, DIGITS)))),
    );
    this.grid.replaceChildren(this.caption, el("thead", {}, head), el("tbody", {}, ...body));
  }

  private async save(): Promise<void> {
    if (!this.shown) return;
    const { columns, values, rows, seed } = this.shown;
    try {
      const name = `rows-seed-${seed}.csv`;
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
    const near = given! >= low && given! <= high ? given! : (low + high) / 2;
    const start = whole ? Math.round(near) : near;
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
