// Notes, melodies, MIDI and time, without a browser; a model that says what it was asked.

import { describe, expect, test } from "vitest";

import { inputsOf, outputsOf } from "../../src/engines/engine";
import type { Manifest, Notes } from "../../src/manifest";
import { MOST_PIECES } from "../../src/link";
import type { Choice, Drawing, Model } from "../../src/model";
import { between, compose } from "../../src/music/compose";
import { MELODIES, melodyOf, within } from "../../src/music/melodies";
import { midiFile } from "../../src/music/midi";
import { readMelody } from "../../src/music/read_midi";
import { lineFrom, linesOf, nameOf, notesOf, pairsOf, tokensOf, voicesOf } from "../../src/music/notes";
import type { Line, Note } from "../../src/music/notes";
import { Schedule } from "../../src/music/schedule";
import { words } from "../../src/random";

const schema: Notes = { low: 36, high: 81, voices: ["alto", "tenor", "bass"], given: { melody: "soprano" }, steps: 32, stepsPerBeat: 4, repeats: false };
const repeating: Notes = { ...schema, repeats: true };

test("tokens say pitches, rests and, where there are tokens for it, notes struck again", () => {
  const line = lineFrom([[60, 2], [60, 1], [0, 1], [62, 2]], 6);
  expect(tokensOf(line, repeating)).toEqual([25, 25, 25 + 46, 0, 27, 27]);
  expect(tokensOf(line, schema)).toEqual([25, 25, 25, 0, 27, 27]);
});

test("tokens come back as the lines that they were made of", () => {
  const one: Notes = { ...repeating, voices: ["soprano"], given: {}, steps: 32 };
  for (let seed = 0; seed < 50; seed++) {
    const line = melodyOf(seed, 32);
    expect(linesOf(tokensOf(line, one), one)).toEqual([line]);
  }
});

test("the voices of a piece are read step by step, and what is no step is silence", () => {
  const tokens = Array.from({ length: 32 * 3 }, (_, i) => (i < 6 ? [1, 13, 46][i % 3]! : -1));
  const lines = linesOf(tokens, schema);
  expect(lines.map((line) => line.slice(0, 3).map(({ pitch }) => pitch))).toEqual([[36, 36, 0], [48, 48, 0], [81, 81, 0]]);
  expect(notesOf(lines)).toEqual([0, 1, 2].map((voice) => ({ voice, pitch: [36, 48, 81][voice], start: 0, end: 2 })));
  expect(voicesOf(schema)).toEqual(["soprano", "alto", "tenor", "bass"]);
});

test("a held note is one note, a struck one another", () => {
  expect(notesOf([lineFrom([[60, 2], [60, 3]], 5)])).toEqual([
    { voice: 0, pitch: 60, start: 0, end: 2 },
    { voice: 0, pitch: 60, start: 2, end: 5 },
  ]);
});

test("a line is the notes that it was made of, for a link", () => {
  for (const notes of Object.values(MELODIES)) expect(pairsOf(lineFrom(notes, 32))).toEqual(notes);
  const line = lineFrom([[0, 3], [60, 2], [60, 2], [0, 1]], 8);
  expect(pairsOf(line)).toEqual([[0, 3], [60, 2], [60, 2], [0, 1]]);
});

test("pitches have names", () => {
  expect([60, 61, 70, 81, 0].map(nameOf)).toEqual(["C 4", "C sharp 4", "B flat 4", "A 5", "rest"]);
});

test("the melodies to begin with fill two bars and a soprano can sing them", () => {
  for (const [name, notes] of Object.entries(MELODIES)) {
    expect(notes.reduce((sum, [, length]) => sum + length, 0), name).toBe(32);
    for (const [pitch] of notes) expect(pitch >= 60 && pitch <= 81, name).toBe(true);
  }
});

test("every seed has a melody of its own, by the rules", () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < 300; seed++) {
    const line = melodyOf(seed, 32);
    expect(line).toHaveLength(32);
    const notes = notesOf([line]);
    seen.add(notes.map(({ pitch, start }) => `${pitch}@${start}`).join(" "));
    expect(notes.at(-1)!.end - notes.at(-1)!.start).toBe(8);
    for (const { pitch } of notes) expect(pitch >= 60 && pitch <= 79, `seed ${seed}: ${pitch}`).toBe(true);
    notes.slice(1).forEach(({ pitch }, i) => expect(Math.abs(pitch - notes[i]!.pitch)).toBeLessThanOrEqual(7));
  }
  expect(seen.size).toBe(300);
  expect(melodyOf(7, 32)).toEqual(melodyOf(7, 32));
  expect(melodyOf(7, 48)).toHaveLength(48);
});

test("a melody out of range is moved by octaves, and what still does not fit rests", () => {
  const low: Notes = { ...schema, high: 72 };
  const pitches = (line: Line) => line.map(({ pitch }) => pitch);
  expect(pitches(within(lineFrom([[72, 1], [76, 1], [0, 1]], 3), low))).toEqual([60, 64, 0]);
  expect(pitches(within(lineFrom([[72, 1], [76, 1]], 2), schema))).toEqual([72, 76]);
  expect(pitches(within(lineFrom([[20, 1], [110, 1]], 2), { ...schema, low: 100, high: 112 }))).toEqual([0, 110]);
});

/** Note events `[tick, on, channel, pitch]` of each track, read as the standard has them. */
function readMidi(file: Uint8Array) {
  const text = (from: number) => String.fromCharCode(...file.subarray(from, from + 4));
  const number = (from: number, size: number) => file.subarray(from, from + size).reduce((sum, byte) => sum * 256 + byte, 0);
  expect(text(0)).toBe("MThd");
  const [format, count, division] = [8, 10, 12].map((at) => number(at, 2));
  const tracks = [];
  let place = 14;
  for (let i = 0; i < count!; i++) {
    expect(text(place)).toBe("MTrk");
    const end = place + 8 + number(place + 4, 4);
    place += 8;
    const track = { name: "", tempo: 0, program: -1, notes: [] as [number, boolean, number, number][], closed: false };
    const variable = () => {
      let value = 0;
      for (;;) {
        const byte = file[place++]!;
        value = value * 128 + (byte & 127);
        if (byte < 128) return value;
      }
    };
    let tick = 0;
    while (place < end) {
      tick += variable();
      const status = file[place++]!;
      if (status === 0xff) {
        const kind = file[place++]!;
        const size = variable();
        const content = file.subarray(place, place + size);
        if (kind === 3) track.name = new TextDecoder().decode(content);
        if (kind === 0x51) track.tempo = number(place, 3);
        track.closed = kind === 0x2f;
        place += size;
      } else if (status >> 4 === 0xc) track.program = file[place++]!;
      else {
        track.notes.push([tick, status >> 4 === 9, status & 15, file[place]!]);
        place += 2;
      }
    }
    expect(place).toBe(end);
    tracks.push(track);
  }
  expect(place).toBe(file.length);
  return { format, division, tracks };
}

test("a MIDI file says what is heard", () => {
  const lines = [lineFrom([[60, 4], [60, 4], [0, 100], [72, 4]], 112), lineFrom([[48, 112]], 112)];
  const file = midiFile({ notes: notesOf(lines), voices: ["Sopran", "Baß"], stepsPerBeat: 4, tempo: 90, program: 19 });
  const { format, division, tracks } = readMidi(file);
  expect([format, division, tracks.length]).toEqual([1, 480, 3]);
  expect(tracks[0]!.tempo).toBe(Math.round(60e6 / 90));
  expect(tracks.map(({ name }) => name)).toEqual(["", "Sopran", "Baß"]);
  expect(tracks.map(({ closed }) => closed)).toEqual([true, true, true]);
  expect(tracks.slice(1).map(({ program }) => program)).toEqual([19, 19]);
  // An end comes before the beginning at the same tick; a rest of 3,000 quarters is no matter.
  expect(tracks[1]!.notes).toEqual([
    [0, true, 0, 60], [480, false, 0, 60], [480, true, 0, 60], [960, false, 0, 60], [12960, true, 0, 72], [13440, false, 0, 72],
  ]);
  expect(tracks[2]!.notes).toEqual([[0, true, 1, 48], [13440, false, 1, 48]]);
});

test("no voice of a MIDI file gets the channel of the drums", () => {
  const voices = Array.from({ length: 12 }, (_, i) => `voice ${i}`);
  const lines = voices.map(() => lineFrom([[60, 4]], 4));
  const { tracks } = readMidi(midiFile({ notes: notesOf(lines), voices, stepsPerBeat: 4, tempo: 80, program: 52 }));
  expect(tracks.slice(1).map(({ notes }) => notes[0]![2])).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12]);
});

const piece: Note[] = notesOf([lineFrom([[60, 4], [62, 4]], 8), lineFrom([[48, 8]], 8)]);
const due = (schedule: Schedule, until: number) => schedule.due(until).map(({ note, at }) => [note.pitch, Number(at.toFixed(6))]);

test("every note is handed out once, at its time", () => {
  const schedule = new Schedule(piece, 8, 0.25, false, 10);
  expect(due(schedule, 10.2)).toEqual([[60, 10], [48, 10]]);
  expect(due(schedule, 10.9)).toEqual([]);
  expect(due(schedule, 99)).toEqual([[62, 11]]);
  expect(due(schedule, 199)).toEqual([]);
  expect([9, 10.5, 11.99, 12.01].map((time) => schedule.stepAt(time))).toEqual([0, 2, expect.closeTo(7.96), null]);
});

test("a loop comes round in time, and ends with its round", () => {
  const schedule = new Schedule(piece, 8, 0.25, true, 0);
  const times: number[] = [];
  // A timer that comes when it likes.
  for (let now = 0; now < 399; now += 0.13 + 0.2 * Math.abs(Math.sin(now))) {
    for (const { note, at } of schedule.due(now + 0.15)) if (note.pitch === 60) times.push(at);
  }
  times.forEach((time, round) => expect(time).toBeCloseTo(2 * round, 9));
  expect(times.length).toBe(200);
  expect(schedule.stepAt(400.25)).toBeCloseTo(1);
  schedule.setLoop(false, 400.25);
  expect(due(schedule, 999)).toEqual([[60, 400], [48, 400], [62, 401]]);
  expect([schedule.stepAt(401.9), schedule.stepAt(402.1)]).toEqual([expect.closeTo(7.6), null]);
});

test("another tempo begins after what has been handed out", () => {
  const schedule = new Schedule(piece, 8, 0.25, false, 0);
  expect(due(schedule, 0.5)).toHaveLength(2); // to step 2
  schedule.retime(0.5);
  expect(due(schedule, 9)).toEqual([[62, 1.5]]);
  expect(schedule.stepAt(1.5)).toBeCloseTo(4);
});

test("from the middle, what sounds there is begun there", () => {
  const schedule = new Schedule(piece, 8, 0.25, false, 5, 5);
  expect(schedule.due(99).map(({ note, at, seconds }) => [note.pitch, at, seconds])).toEqual([[48, 5, 0.75], [62, 5, 0.75]]);
  expect(schedule.stepAt(5)).toBeCloseTo(5);
});

test("a piece of rests is silent and ends", () => {
  const schedule = new Schedule([], 8, 0.25, true, 0);
  expect(schedule.due(99)).toEqual([]);
  expect(schedule.stepAt(1)).toBeCloseTo(4);
});

const manifest = (graph: Manifest["graph"]): Manifest => ({
  graph, model: "SequenceVAE", latentDim: 2, height: 32, width: 3, channels: 1, dataShape: [32, 3], dataRange: [0, 1], range: [0, 1],
  conditions: [{ name: "melody", kind: "sequence", size: 32, names: [] }],
  guidance: 1, standardNormal: true, quantization: "none", parameters: 1, data: "jsb", map: null, scores: null, notes: schema, table: null, series: null, calibration: null,
  golden: { seed: 42, temperature: 1, tokenTemperature: 0.7, tolerance: 1e-5, values: {}, magnitudes: {}, rows: 2 },
});

test("a runtime is told the inputs of music", () => {
  const inputs = (graph: Manifest["graph"]) => inputsOf(manifest(graph)).map(({ name, shape, kind, batched }) => `${name} ${kind} ${batched ? "rows" : 1} ${shape}`);
  expect(inputs("sampler")).toEqual(["melody int32 rows 32", "seed int32 1 ", "temperature float32 1 ", "token_temperature float32 1 "]);
  expect(inputs("decoder")).toEqual(["z float32 rows 2", "melody int32 rows 32", "seed int32 1 ", "token_temperature float32 1 "]);
  expect(inputs("encoder")).toEqual(["x int32 rows 32,3", "melody int32 rows 32"]);
  expect(outputsOf(manifest("sampler"))).toEqual({ x: 96, z: 2 });
});

/** A model whose notes tell the row, the seed and the code that they were made of. */
function fake(graphs: string[], asked: { choices: Choice[]; drawn: Drawing | undefined }[] = []): Model {
  const made = (z: Float32Array, rows: number) =>
    Float32Array.from({ length: rows * 96 }, (_, i) => 1 + Math.floor(i / 96) + Math.round(4 * z[2 * Math.floor(i / 96)]!));
  return {
    manifest: manifest("sampler"),
    has: (name: string) => graphs.includes(name),
    async draw(choices: Choice[], drawn: Drawing) {
      asked.push({ choices, drawn });
      const z = Float32Array.from({ length: 2 * choices.length }, (_, i) => (i >> 1) % 5);
      return { x: made(z, choices.length), z };
    },
    async decode(z: Float32Array, choices: Choice[], drawn: Drawing) {
      asked.push({ choices, drawn });
      return made(z, choices.length);
    },
  } as unknown as Model;
}

const drawn: Drawing = { seed: 3, temperature: 0.9, tokenTemperature: 0.5 };

test("ten pieces are one call of the sampler, the melody with each", async () => {
  const asked: { choices: Choice[]; drawn: Drawing | undefined }[] = [];
  const melody = lineFrom(MELODIES["Ode to Joy"]!, 32);
  const takes = await compose(fake(["sampler"], asked), melody, { key: 2 }, drawn);
  expect(asked).toHaveLength(1);
  expect(asked[0]).toEqual({ choices: Array(MOST_PIECES).fill({ key: 2, melody: tokensOf(melody, schema) }), drawn });
  expect(takes.pieces).toHaveLength(MOST_PIECES);
  for (const lines of takes.pieces) expect([lines.length, lines[0]]).toEqual([4, melody]);
  expect(takes.pieces.map((lines) => lines[1]![0]!.pitch)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((row) => 36 + row + 4 * (row % 5)));
});

test("a model without a sampler draws by its decoder, one without a melody gets none", async () => {
  const asked: { choices: Choice[]; drawn: Drawing | undefined }[] = [];
  const takes = await compose(fake(["decoder"], asked), null, {}, drawn);
  expect(asked[0]!.choices).toEqual(Array(MOST_PIECES).fill({}));
  expect(takes.z).toHaveLength(2 * MOST_PIECES);
  expect(takes.pieces[0]).toHaveLength(3);
});

test("the way between two pieces begins and ends with them, and has each end's draws", async () => {
  const asked: { choices: Choice[]; drawn: Drawing | undefined }[] = [];
  const model = fake(["sampler", "decoder"], asked);
  const takes = await compose(model, null, {}, drawn);
  const first = async (time: number) => (await between(model, takes, 1, 4, time))[0]![0]!.pitch - 36;
  // Codes 1 and 4 in rows 1 and 4: what is made is the row and four times the code.
  expect(await first(0)).toBe(1 + 4);
  expect(await first(1)).toBe(4 + 16);
  expect(asked).toHaveLength(1);
  expect(await first(0.25)).toBe(1 + 7);
  expect(await first(0.75)).toBe(4 + 13);
  expect(asked.slice(1).map(({ choices, drawn: told }) => [choices.length, told])).toEqual([[2, drawn], [5, drawn]]);
  expect(await first(1e-9)).toBe(await first(0));
});

describe("a MIDI file that is opened", () => {
  const chunk = (kind: string, content: number[]) => [...Array.from(kind, (letter) => letter.charCodeAt(0)), 0, 0, content.length >> 8, content.length & 255, ...content];
  const file = (tracks: number[][], { format = 1, ticks = 4 } = {}) =>
    Uint8Array.from([...chunk("MThd", [0, format, 0, tracks.length, ticks >> 8, ticks & 255]), ...tracks.flatMap((track) => chunk("MTrk", [...track, 0, 0xff, 0x2f, 0]))]);
  const pitches = (line: Line) => line.map(({ pitch }) => pitch);

  test("gives back the highest voice of what the page saved", () => {
    for (let seed = 0; seed < 20; seed++) {
      const line = melodyOf(seed, 32);
      const low = line.map(({ pitch, struck }) => ({ pitch: pitch && pitch - 12, struck }));
      const content = midiFile({ notes: notesOf([low, line]), voices: ["alto", "soprano"], stepsPerBeat: 4, tempo: 80, program: 19 });
      expect(readMelody(content, 4, 32)).toEqual({ line, isWhole: true });
    }
  });

  test("may use a running status, silent notes as ends, words about itself and other chunks", () => {
    const said = [0, 0xff, 3, 2, 72, 105, 0, 0xf0, 1, 0xf7, 0, 0xc0, 19];
    const track = [...said, 0, 0x90, 60, 80, 4, 60, 0, 0, 62, 80, 2, 62, 0, 0, 0xb0, 7, 100];
    const content = file([track]);
    const other = [...content.subarray(0, 14), ...chunk("XFIH", [1, 2, 3]), ...content.subarray(14)];
    for (const each of [content, Uint8Array.from(other)]) {
      const { line, isWhole } = readMelody(each, 4, 8);
      expect(pitches(line)).toEqual([60, 60, 60, 60, 62, 62, 0, 0]);
      expect([line[0]!.struck, line[1]!.struck, line[4]!.struck, isWhole]).toEqual([true, false, true, true]);
    }
  });

  test("is taken from the bar of its first note, as far as there is room", () => {
    const notes = (from: number) => [from, 0x90, 60, 80, 20, 60, 0];
    const late = readMelody(file([notes(35)]), 4, 16);
    expect(pitches(late.line)).toEqual([0, 0, 0, ...Array(13).fill(60)]);
    expect(late.isWhole).toBe(false);
  });

  test("may overlap as played notes do, by less than a step", () => {
    const { line } = readMelody(file([[0, 0x90, 60, 80, 39, 62, 80, 2, 60, 0, 38, 62, 0]], { ticks: 40 }), 4, 8);
    expect(pitches(line)).toEqual([60, 60, 60, 60, 62, 62, 62, 62]);
  });

  test.each([
    ["no MIDI file", Uint8Array.from([...chunk("RIFF", [0, 1, 0, 1, 0, 4])])],
    ["cut off", file([[0, 0x90, 60, 80, 4, 60, 0]]).subarray(0, 28)],
    ["no MIDI file", Uint8Array.from([1, 2, 3])],
    ["cut off", file([[0xff, 0xff, 0xff, 0xff, 0x90, 60, 80]])],
    ["cut off", file([[0, 60, 80]])],
    ["cut off", file([[0, 0x90, 200, 80]])],
    ["format 0 or 1, not 2", file([[]], { format: 2 })],
    ["not in seconds", file([[]], { ticks: 0xe728 })],
    ["it has none", file([[0, 0xc0, 19]])],
    ["drums alone", file([[0, 0x99, 40, 80, 4, 40, 0]])],
    ["one note at a time, not 60 and 64", file([[0, 0x90, 60, 80, 0, 64, 80, 4, 60, 0, 0, 64, 0]])],
    ["at most 1,048,576 bytes", new Uint8Array(2 ** 20 + 1)],
  ])("is refused in one line: %s", (words, content) => {
    expect(() => readMelody(content, 4, 32)).toThrow(words);
  });

  test("never does worse than that, whatever its bytes are", () => {
    const content = file([[0, 0x90, 60, 80, 4, 60, 0, 0, 62, 80, 4, 62, 0]]);
    for (let seed = 0; seed < 2000; seed++) {
      const broken = content.slice();
      for (let i = 0; i < 3; i++) broken[words(seed, i, 1)[0] % broken.length] = words(seed, i, 2)[0] & 255;
      try {
        expect(readMelody(broken, 4, 32).line).toHaveLength(32);
      } catch (err) {
        expect((err as Error).message).toMatch(/^[^\n]*MIDI|melody/);
      }
    }
  });
});
