// The controls for a model's conditions: buttons for classes, fields for numbers.

import { Choices, el } from "./dom";
import type { Condition, Manifest } from "./manifest";
import { mainCondition, rounded } from "./model";
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
  return condition?.names.map((name, i) => ({ value: String(i), label: shownName(name) })) ?? [];
}

/** Controls for the conditions besides the main one, and melodies; of music for all others. */
export function otherConditions(stage: Stage, manifest: Manifest, onChange: () => void): HTMLElement[] {
  return manifest.conditions
    .filter((condition) => condition.kind !== "sequence" && (manifest.notes || condition !== mainCondition(manifest)))
    .map((condition) => {
      const { name, kind, names } = condition;
      if (kind === "categorical") {
        const select = el("select", { "aria-label": name }, ...names.map((label, i) => el("option", { value: String(i) }, label)));
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
