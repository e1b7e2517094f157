// Readings of CSV, their windows, and p-values.

import { expect, test } from "vitest";

import { parseReadings, pValue, windowStarts } from "../../src/series";

const series = { window: 3, stride: 2, channels: [{ name: "flow", unit: "" }, { name: "heat", unit: "°C" }] };

test("readings are found by their names, in any order and notation", () => {
  const expected = [1, 10, 2, 20, 3, 30];
  expect(Array.from(parseReadings("heat,time,flow\n10,a,1\n20,b,2\n30,c,3\n", series, "a.csv"))).toEqual(expected);
  const german = "\uFEFFflow;heat\r\n1,0;10,0\r\n\r\n2;20\r\n3;30\r\n";
  expect(Array.from(parseReadings(german, series, "a.csv"))).toEqual(expected);
  expect(Array.from(parseReadings('"flow"\t"heat"\n1\t\n2\t20\n3\t30\n', series, "a.csv"))[1]).toBeNaN();
});

test("what is no series is said", () => {
  expect(() => parseReadings("flow\n1\n2\n3\n", series, "a.csv")).toThrow("It lacks heat.");
  expect(() => parseReadings("flow,heat\n1,2\n", series, "a.csv")).toThrow("at least 3 readings, a window. It has 1.");
  expect(() => parseReadings("flow,heat\n1,2\n1,x\n1,2\n", series, "a.csv")).toThrow("heat is “x” in line 3.");
});

test("windows go by the stride, or further where there are many, and lack nothing", () => {
  const readings = Float32Array.from({ length: 40 }, (_, i) => i);
  expect(windowStarts(readings, series, 100)).toEqual([0, 2, 4, 6, 8, 10, 12, 14, 16]);
  expect(windowStarts(readings, series, 3)).toEqual([0, 6, 12]);
  readings[13] = NaN;
  expect(windowStarts(readings, series, 100)).toEqual([0, 2, 8, 10, 12, 14, 16]);
});

test("p-values lie on straight lines between the scores that are kept", () => {
  const calibration = { groups: [{ scores: [-5, 0, 10], pValues: [1, 0.5, 0.01] }], falseAlarms: 0.01, condition: null, groupOfClass: [] };
  expect([-9, -5, -2.5, 0, 5, 10, 99].map((score) => pValue(score, calibration))).toEqual([1, 1, 0.75, 0.5, 0.255, 0.01, 0.01]);
});
