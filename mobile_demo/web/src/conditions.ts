// The controls for a model's conditions: buttons for classes, boxes for tags, fields for numbers.

import { Choices, INDENT, el } from "./dom";
import type { Condition, Manifest } from "./manifest";
import { mainCondition, rounded, UNKNOWN_TAG } from "./model";
import type { Stage } from "./stage";

const MOST_FIELDS = 8;

export const ALL = "all";

/** A class as people read it. */
export function shownName(name: string): string {
  return name.replaceAll("_", " ");
}

/** Buttons for the classes of the main condition. */
export function classButtons(onChoose: (value: string) => void): Choices {
  return new Choices("Class", onChoose);
}

export function classOptions(condition: Condition | null): { value: string; label: string }[] {
  if (!condition) return [];
  const options = condition.names.map((name, i) => ({ value: String(i), label: shownName(name) }));
  return condition.leaves === undefined ? options : inGroups(condition.names);
}

/** Classes in groups: each group before what is in it, by how deep it is. */
function inGroups(names: string[]): { value: string; label: string }[] {
  // A group stands where the first of its classes does.
  const placeOf = (group: string) => names.findIndex((name) => `${name}/`.startsWith(`${group}/`));
  const nodes = names.map((name, i) => {
    const path = name.split("/");
    const label = `${INDENT.repeat(path.length - 1)}${shownName(path.at(-1)!)}`;
    return { value: String(i), label, places: path.map((_, depth) => placeOf(path.slice(0, depth + 1).join("/"))) };
  });
  return nodes.sort((a, b) => compared(a.places, b.places)).map(({ value, label }) => ({ value, label }));
}

/** The order of two lists of numbers, the shorter first where it begins the other. */
function compared(a: number[], b: number[]): number {
  const at = a.findIndex((value, i) => value !== b[i]);
  return at < 0 ? a.length - b.length : at >= b.length ? 1 : a[at]! - b[at]!;
}

/** A box for each tag, and one that says nothing of them. */
function tagBoxes({ name, names }: Condition, stage: Stage, onChange: () => void): HTMLElement {
  const values = stage.choice[name] as number[];
  const box = (label: string, onTurn: (checked: boolean) => void) => {
    const input = el("input", { type: "checkbox" });
    input.addEventListener("change", () => {
      onTurn(input.checked);
      mark();
      onChange();
    });
    return { input, element: el("label", { class: "tag" }, input, label) };
  };
  const isUnknown = () => values.every((value) => value === UNKNOWN_TAG);
  const unknown = box("unknown", (checked) => values.fill(checked ? UNKNOWN_TAG : 0));
  const boxes = names.map((label, i) =>
    box(shownName(label), (checked) => {
      if (isUnknown()) values.fill(0);
      values[i] = Number(checked);
    }),
  );
  const mark = () => {
    unknown.input.checked = isUnknown();
    boxes.forEach(({ input }, i) => (input.checked = values[i] === 1));
  };
  mark();
  return el("fieldset", { class: "field tags" }, el("legend", {}, name), ...[unknown, ...boxes].map(({ element }) => element));
}

/** Controls for the conditions besides the main one, and melodies; of music for all others. */
export function otherConditions(stage: Stage, manifest: Manifest, onChange: () => void): HTMLElement[] {
  return manifest.conditions
    .filter((condition) => condition.kind !== "sequence" && (manifest.notes || condition !== mainCondition(manifest)))
    .map((condition) => {
      const { name, kind, names } = condition;
      if (kind === "multi_label") return tagBoxes(condition, stage, onChange);
      if (kind === "categorical") {
        const options = condition.leaves === undefined ? names.map((label, i) => ({ value: String(i), label })) : classOptions(condition);
        const select = el("select", { "aria-label": name }, ...options.map(({ value, label }) => el("option", { value }, label)));
        select.value = String(stage.choice[name] ?? 0);
        select.addEventListener("change", () => {
          stage.choice[name] = Number(select.value);
          onChange();
        });
        return el("label", { class: "field" }, name, select);
      }
      return numberFields(stage, condition, onChange);
    });
}

/** A slider for each number of a condition with a range, else a field; a box where it may be unknown. */
function numberFields(stage: Stage, { name, size, ranges, unit, unknown }: Condition, onChange: () => void): HTMLElement {
  const known = (stage.choice[name] as number[]).map((value, i) => (Number.isNaN(value) ? middle(ranges?.[i]) : value));
  const isUnknown = (stage.choice[name] as number[]).some(Number.isNaN);
  const fields = known.slice(0, MOST_FIELDS).map((value, i) => {
    const label = size > 1 ? `${name} ${i + 1}` : name;
    const range = ranges?.[i];
    const input = range
      ? el("input", { type: "range", min: String(range[0]), max: String(range[1]), step: "any", "aria-label": label })
      : el("input", { type: "number", step: "0.1", value: String(value), "aria-label": label });
    const output = el("output");
    if (range) {
      input.value = String(value);
      output.textContent = said(value, unit);
      input.setAttribute("aria-valuetext", said(value, unit));
    }
    input.addEventListener("input", () => {
      if (!Number.isFinite(input.valueAsNumber)) return;
      known[i] = range ? rounded(input.valueAsNumber, range) : input.valueAsNumber;
      if (range) {
        output.textContent = said(known[i]!, unit);
        input.setAttribute("aria-valuetext", said(known[i]!, unit));
      }
      stage.choice[name] = [...known];
      onChange();
    });
    input.disabled = isUnknown;
    return { input, output };
  });
  const children: HTMLElement[] = fields.flatMap(({ input, output }) => (ranges ? [input, output] : [input]));
  if (unknown) {
    const box = el("input", { type: "checkbox", checked: isUnknown, "aria-label": `${name} unknown` });
    box.addEventListener("change", () => {
      for (const { input } of fields) input.disabled = box.checked;
      stage.choice[name] = box.checked ? Array<number>(size).fill(NaN) : [...known];
      onChange();
    });
    children.push(el("label", { class: "unknown" }, box, "unknown"));
  }
  return el("div", { class: "field numbers" }, el("span", {}, name), ...children);
}

function middle(range: [number, number] | undefined): number {
  return range ? (range[0] + range[1]) / 2 : 0;
}

function said(value: number, unit: string | undefined): string {
  const short = String(Number(value.toPrecision(4)));
  return unit ? `${short} ${unit}` : short;
}
