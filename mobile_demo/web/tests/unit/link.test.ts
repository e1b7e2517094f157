import { expect, test } from "vitest";

import { NO_LINK as empty, formatLink, parseLink } from "../../src/link";

const vocabulary = { views: ["draw", "sample"], model: "0a1b2c3d", classes: { label: ["0", "ankle boot", "ä&=%", "2"] } };

test.each([
  { ...empty },
  { ...empty, view: "sample", model: "0a1b2c3d", classes: { label: "ankle boot" }, seed: 2 ** 31 - 1, temperature: 0.85, count: 16 },
  { ...empty, view: "draw", seed: 9, tokenTemperature: 0.7, piece: 10, melody: [[67, 4], [0, 12], [127, 1]] as [number, number][] },
  { ...empty, view: "draw", classes: { label: "ä&=%" }, seed: 0, temperature: 0, count: 1 },
])("a link comes back as it was made: %j", (link) => {
  expect(parseLink(formatLink(link), vocabulary)).toEqual({ link, problems: [] });
});

test.each([
  ["#class.label=eleven", /unknown|does not know/],
  ["#class.colour=red", /does not know/],
  ["#class.__proto__=0", /does not know/],
  ["#view=admin", /does not have/],
  ["#model=ffffffff", /another model/],
  ["#seed=2147483648", /seed must be a whole number from 0 to 2147483647/],
  ["#seed=-1", /seed/],
  ["#seed=1.5", /seed/],
  ["#seed=1e3", /seed/],
  ["#seed=", /seed/],
  ["#seed=99999999999999999999", /seed/],
  ["#temperature=3", /temperature must be a number from 0 to 2/],
  ["#temperature=NaN", /temperature/],
  ["#temperature=-0.1", /temperature/],
  ["#count=0", /count/],
  ["#count=65", /count/],
  ["#token_temperature=1.6", /token_temperature must be a number from 0 to 1.5/],
  ["#piece=11", /piece must be a whole number from 1 to 10/],
  ["#melody=", /melody must be notes such as 67x4/],
  ["#melody=67x4.128x4", /melody/],
  ["#melody=67x0", /melody/],
  ["#melody=67", /melody/],
  ["#melody=67x4.<b>", /melody/],
])("%s is told in a sentence and left out", (hash, sentence) => {
  const { link, problems } = parseLink(hash, vocabulary);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toMatch(sentence);
  expect({ ...link, model: null }).toEqual(empty);
});

test("the rest of a link counts", () => {
  const { link, problems } = parseLink("#view=sample&class.label=eleven&seed=5", vocabulary);
  expect(problems).toHaveLength(1);
  expect(link).toEqual({ ...empty, view: "sample", seed: 5 });
});

test("a long link makes no long sentence", () => {
  const { problems } = parseLink(`#class.label=${"x".repeat(100_000)}\u0007`, vocabulary);
  expect(problems[0]!.length).toBeLessThan(140);
});

const withNumbers = { ...vocabulary, numbers: { angle: { size: 1, unknown: false }, wind: { size: 2, unknown: true } } };

test("numbers of conditions are in a link", () => {
  const hash = formatLink({ ...empty, numbers: { angle: [-30.25], wind: [NaN, NaN] } });
  expect(hash).toBe("#number.angle=-30.25&number.wind=unknown");
  expect(parseLink(hash, withNumbers)).toEqual({ link: { ...empty, numbers: { angle: [-30.25], wind: [NaN, NaN] } }, problems: [] });
  expect(parseLink("#number.wind=1.5,-2e-3", withNumbers).link.numbers).toEqual({ wind: [1.5, -0.002] });
});

test.each(["#number.angle=fast", "#number.angle=", "#number.angle=1,2", "#number.angle=unknown", "#number.angle=Infinity", "#number.wind=1", "#number.speed=1"])(
  "%s is told in a sentence and left out",
  (hash) => {
    const { link, problems } = parseLink(hash, withNumbers);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(/which this model cannot have/);
    expect(link).toEqual(empty);
  },
);
