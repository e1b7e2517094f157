// A piece as a MIDI file of format 1: a track for the tempo, then one for each voice.

import type { Note } from "./notes";

export interface Score {
  notes: Note[];
  voices: string[];
  stepsPerBeat: number;
  /** Beats a minute. */
  tempo: number;
  /** Of General MIDI, from 0. */
  program: number;
}

const TICKS_PER_BEAT = 480;
const LOUDNESS = 80;

export function midiFile({ notes, voices, stepsPerBeat, tempo, program }: Score): Uint8Array<ArrayBuffer> {
  const microseconds = Math.round(60e6 / tempo);
  const ticks = TICKS_PER_BEAT / stepsPerBeat;
  // Four quarters in a bar, a click of the metronome on each.
  const head = track([0, 0xff, 0x51, 3, ...bytes(microseconds, 3), 0, 0xff, 0x58, 4, 4, 2, 24, 8]);
  const parts = voices.map((name, voice) => {
    const channel = voice < 9 ? voice : voice + 1; // the tenth is for drums
    const events = notes
      .filter((note) => note.voice === voice)
      .flatMap(({ pitch, start, end }) => [{ step: start, pitch, on: 1 }, { step: end, pitch, on: 0 }])
      .sort((a, b) => a.step - b.step || a.on - b.on);
    const content = [0, 0xff, 3, ...text(name), 0, 0xc0 | channel, program];
    let now = 0;
    for (const { step, pitch, on } of events) {
      const at = Math.round(step * ticks);
      content.push(...variable(at - now), (on ? 0x90 : 0x80) | channel, pitch, on ? LOUDNESS : 0);
      now = at;
    }
    return track(content);
  });
  const header = [...ascii("MThd"), ...bytes(6, 4), ...bytes(1, 2), ...bytes(1 + parts.length, 2), ...bytes(TICKS_PER_BEAT, 2)];
  return Uint8Array.from([header, head, ...parts].flat());
}

function track(events: number[]): number[] {
  const content = [...events, 0, 0xff, 0x2f, 0];
  return [...ascii("MTrk"), ...bytes(content.length, 4), ...content];
}

function ascii(name: string): number[] {
  return Array.from(name, (letter) => letter.charCodeAt(0));
}

/** A text with its length before it. */
function text(name: string): number[] {
  const content = new TextEncoder().encode(name);
  return [...variable(content.length), ...content];
}

function bytes(value: number, size: number): number[] {
  return Array.from({ length: size }, (_, i) => Math.floor(value / 256 ** (size - 1 - i)) % 256);
}

/** Seven bits a byte, all but the last marked. */
function variable(value: number): number[] {
  const digits = [value & 127];
  while ((value >>= 7) > 0) digits.unshift((value & 127) | 128);
  return digits;
}
