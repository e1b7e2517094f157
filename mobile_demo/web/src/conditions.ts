// The controls for a model's conditions: buttons for classes, fields for numbers.

import { Choices, el } from "./dom";
import type { Condition, Manifest } from "./manifest";
import { mainCondition } from "./model";
import type { Stage } from "./stage";

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
      const { name, kind, names, size } = condition;
      if (kind === "categorical") {
        const select = el("select", { "aria-label": name }, ...names.map((label, i) => el("option", { value: String(i) }, label)));
        select.value = String(stage.choice[name] ?? 0);
        select.addEventListener("change", () => {
          stage.choice[name] = Number(select.value);
          onChange();
        });
        return el("label", { class: "field" }, name, select);
      }
      const values = stage.choice[name] as number[];
      const inputs = Array.from({ length: Math.min(size, 8) }, (_, i) => {
        const input = el("input", { type: "number", step: "0.1", value: String(values[i] ?? 0), "aria-label": `${name} ${i + 1}` });
        input.addEventListener("input", () => {
          if (Number.isFinite(input.valueAsNumber)) values[i] = input.valueAsNumber;
          onChange();
        });
        return input;
      });
      return el("div", { class: "field" }, el("span", {}, name), ...inputs);
    });
}
