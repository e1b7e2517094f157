import { expect, test } from "vitest";

import { classOptions } from "../../src/conditions";
import type { Condition } from "../../src/manifest";
import { checkManifest } from "../../src/manifest";
import { classNames, conditionInputs, defaultChoice } from "../../src/model";

const IN = "\u2003";
const names = ["animal/dog/pug_dog", "car", "animal/cat", "animal/dog/husky", "animal/dog", "animal"];
const label: Condition = { name: "label", kind: "categorical", size: 6, leaves: 4, names };
const tags: Condition = { name: "tags", kind: "multi_label", size: 2, names: ["red", "round"] };

test("classes in groups are listed beneath them, by how deep they are", () => {
  expect(classOptions(label)).toEqual([
    { value: "5", label: "animal" },
    { value: "4", label: `${IN}dog` },
    { value: "0", label: `${IN}${IN}pug dog` },
    { value: "3", label: `${IN}${IN}husky` },
    { value: "2", label: `${IN}cat` },
    { value: "1", label: "car" },
  ]);
});

test("a name with a stroke in it is none of a group", () => {
  const plain: Condition = { name: "label", kind: "categorical", size: 2, names: ["T-shirt/top", "Bag"] };
  expect(classOptions(plain).map((one) => one.label)).toEqual(["T-shirt/top", "Bag"]);
  expect(classNames(plain)).toEqual(["T-shirt/top", "Bag"]);
  expect(classNames(label)).toEqual(names.slice(0, 4));
});

test("tags are unknown until somebody says them, and whole numbers of a row", () => {
  const manifest = { conditions: [label, tags] } as ReturnType<typeof checkManifest>;
  const choice = defaultChoice(manifest);
  expect(choice).toEqual({ label: 0, tags: [2, 2] });
  const inputs = conditionInputs([label, tags], [choice, { label: 4, tags: [1, 0] }]);
  expect(inputs).toEqual({ label: Int32Array.of(0, 4), tags: Int32Array.of(2, 2, 1, 0) });
});
