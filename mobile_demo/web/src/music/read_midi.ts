// The melody of a MIDI file, which may not be trusted: every position is checked against its size.

import type { Line } from "./notes";

const LARGEST = 2 ** 20;
const DRUMS = 9;
const BEATS_OF_BAR = 4;
const DAMAGED = "The MIDI file is damaged or cut off: save it again.";

interface Tone {
  pitch: number;
  /** In ticks. */
  start: number;
  end: number;
}

/**
 * The highest voice of a file, a track or a channel each: from the bar of its first note as many
 * steps as are asked for, with rests behind its end. Notes begin and end at the nearest step.
 */
export function readMelody(content: Uint8Array, stepsPerBeat: number, steps: number): { line: Line; isWhole: boolean } {
  if (content.length > LARGEST) throw new Error(`A MIDI file must have at most ${LARGEST.toLocaleString("en")} bytes.`);
  const { voices, hasDrums, ticksPerBeat } = readVoices(content);
  if (voices.length === 0) throw new Error(`The MIDI file must hold notes; it has ${hasDrums ? "drums alone" : "none"}.`);
  const step = ticksPerBeat / stepsPerBeat;
  const melody = voices.map((voice) => onSteps(voice, step)).reduce((a, b) => (meanPitch(b) > meanPitch(a) ? b : a));
  const bar = BEATS_OF_BAR * stepsPerBeat;
  const first = Math.floor(melody[0]!.start / bar) * bar;
  const line: Line = Array.from({ length: steps }, () => ({ pitch: 0, struck: false }));
  for (const { pitch, start, end } of melody) {
    for (let at = start; at < Math.min(end, first + steps); at++) line[at - first] = { pitch, struck: at === start };
  }
  return { line, isWhole: first === 0 && melody.at(-1)!.end <= steps };
}

/** Notes of one voice in steps, none of which overlap by a step or more. */
function onSteps(voice: Tone[], step: number): Tone[] {
  const tones = [...voice].sort((a, b) => a.start - b.start || a.end - b.end);
  tones.slice(1).forEach(({ pitch, start }, i) => {
    const before = tones[i]!;
    if (before.end - start < step && before.start < start) return;
    const where = Math.round(start / step) + 1;
    throw new Error(`A melody must have one note at a time, not ${before.pitch} and ${pitch} at step ${where}: save every voice as a track.`);
  });
  const longest = new Map<number, Tone>();
  for (const tone of tones) {
    const start = Math.round(tone.start / step);
    const other = longest.get(start);
    // Of several that begin at one step, such as those of a trill.
    if (!other || tone.end - tone.start >= other.end - other.start) longest.set(start, tone);
  }
  const starts = [...longest.keys()].sort((a, b) => a - b);
  return starts.map((start, i) => {
    const { pitch, end } = longest.get(start)!;
    return { pitch, start, end: Math.min(Math.max(start + 1, Math.round(end / step)), starts[i + 1] ?? Infinity) };
  });
}

/** By the time that the notes sound. */
function meanPitch(tones: Tone[]): number {
  const time = tones.reduce((sum, { start, end }) => sum + end - start, 0);
  return tones.reduce((sum, { pitch, start, end }) => sum + pitch * (end - start), 0) / time;
}

function readVoices(content: Uint8Array): { voices: Tone[][]; hasDrums: boolean; ticksPerBeat: number } {
  if (String.fromCharCode(...content.subarray(0, 4)) !== "MThd") throw new Error("This is no MIDI file.");
  const file = new Reader(content);
  const head = file.chunk();
  const [format, count, ticksPerBeat] = [head.reader.integer(2), head.reader.integer(2), head.reader.integer(2)];
  if (format > 1) throw new Error(`A MIDI file must be of format 0 or 1, not ${format}: save it so.`);
  if (ticksPerBeat === 0 || ticksPerBeat >= 2 ** 15) throw new Error("The times of a MIDI file must be in beats, not in seconds: save it so.");
  const voices = new Map<string, Tone[]>();
  for (let track = 0; track < count; ) {
    const chunk = file.chunk();
    // Others may be there, and are to be passed over.
    if (chunk.kind === "MTrk") readTrack(chunk.reader, track++, voices);
  }
  const isDrums = (name: string) => name.endsWith(` ${DRUMS}`);
  const pitched = [...voices].filter(([name, tones]) => !isDrums(name) && tones.length > 0);
  return { voices: pitched.map(([, tones]) => tones), hasDrums: [...voices.keys()].some(isDrums), ticksPerBeat };
}

/** Add the notes of a track to those of each voice. */
function readTrack(reader: Reader, track: number, voices: Map<string, Tone[]>): void {
  const sounding = new Map<number, number>();
  let [now, running] = [0, 0];
  const end = (channel: number, pitch: number) => {
    const start = sounding.get(channel * 128 + pitch);
    sounding.delete(channel * 128 + pitch);
    const name = `${track} ${channel}`;
    if (!voices.has(name)) voices.set(name, []);
    if (start !== undefined && start < now) voices.get(name)!.push({ pitch, start, end: now });
  };
  while (!reader.isAtEnd) {
    now += reader.length();
    const next = reader.peek();
    const status = next >= 0x80 ? reader.integer(1) : running;
    if (status < 0xf0) running = status;
    if (status === 0xf0 || status === 0xf7 || status === 0xff) {
      // What else a file says, such as its tempo.
      const isEnd = status === 0xff && reader.integer(1) === 0x2f;
      reader.take(reader.length());
      if (isEnd) break;
      continue;
    }
    if (status < 0x80 || status > 0xf0) throw new Error(DAMAGED);
    const data = reader.take(status >= 0xc0 && status < 0xe0 ? 1 : 2);
    if (data.some((byte) => byte > 127)) throw new Error(DAMAGED);
    if (status >= 0xa0) continue;
    const [pitch, loudness] = [data[0]!, data[1]!];
    end(status & 15, pitch);
    if (status >= 0x90 && loudness > 0) sounding.set((status & 15) * 128 + pitch, now);
  }
  for (const key of [...sounding.keys()]) end(key >> 7, key & 127);
}

class Reader {
  private place = 0;

  constructor(private readonly content: Uint8Array) {}

  get isAtEnd(): boolean {
    return this.place >= this.content.length;
  }

  peek(): number {
    if (this.isAtEnd) throw new Error(DAMAGED);
    return this.content[this.place]!;
  }

  take(count: number): Uint8Array {
    if (this.place + count > this.content.length) throw new Error(DAMAGED);
    this.place += count;
    return this.content.subarray(this.place - count, this.place);
  }

  integer(size: number): number {
    return this.take(size).reduce((value, byte) => value * 256 + byte, 0);
  }

  /** A number in groups of seven bits, at most four, of which the last has no eighth. */
  length(): number {
    let value = 0;
    for (let i = 0; i < 4; i++) {
      const byte = this.integer(1);
      value = value * 128 + (byte & 127);
      if (byte < 128) return value;
    }
    throw new Error(DAMAGED);
  }

  chunk(): { kind: string; reader: Reader } {
    const kind = String.fromCharCode(...this.take(4));
    return { kind, reader: new Reader(this.take(this.integer(4))) };
  }
}
