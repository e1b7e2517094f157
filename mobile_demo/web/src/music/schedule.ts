// Which notes are due when: a piece laid on a clock, once or round and round.

import type { Note } from "./notes";

export interface Sound {
  note: Note;
  /** Seconds of the clock. */
  at: number;
  seconds: number;
}

export class Schedule {
  /** How many notes have been handed out, those of earlier rounds too. */
  private count = 0;
  /** When step 0 of the first round is. */
  private origin: number;
  private horizon: number;
  private begun: Sound[];
  private lastRound: number;

  constructor(
    private readonly notes: Note[],
    private readonly steps: number,
    private secondsPerStep: number,
    loop: boolean,
    start: number,
    /** The step that sounds at `start`: notes that sound there already begin there. */
    from = 0,
  ) {
    this.origin = start - from * secondsPerStep;
    this.horizon = start;
    this.lastRound = loop ? Infinity : 0;
    this.begun = notes
      .filter((note) => note.start < from && note.end > from)
      .map((note) => ({ note, at: start, seconds: (note.end - from) * secondsPerStep }));
    this.count = notes.filter((note) => note.start < from).length;
  }

  /** The notes that begin before `until` and have not been handed out. */
  due(until: number): Sound[] {
    const sounds = this.begun;
    this.begun = [];
    while (this.notes.length > 0) {
      const round = Math.floor(this.count / this.notes.length);
      if (round > this.lastRound) break;
      const note = this.notes[this.count % this.notes.length]!;
      const at = this.origin + (round * this.steps + note.start) * this.secondsPerStep;
      if (at >= until) break;
      sounds.push({ note, at, seconds: (note.end - note.start) * this.secondsPerStep });
      this.count++;
    }
    this.horizon = Math.max(this.horizon, until);
    return sounds;
  }

  /** Go on faster or slower from where notes have been handed out to. */
  retime(secondsPerStep: number): void {
    const step = (this.horizon - this.origin) / this.secondsPerStep;
    this.origin = this.horizon - step * secondsPerStep;
    this.secondsPerStep = secondsPerStep;
  }

  /** The step at a time, with what has passed of it; null when the piece is over. */
  stepAt(time: number): number | null {
    const step = Math.max(0, (time - this.origin) / this.secondsPerStep);
    return step < (this.lastRound + 1) * this.steps ? step % this.steps : null;
  }

  /** Go round, or end with this round. */
  setLoop(loop: boolean, now: number): void {
    this.lastRound = loop ? Infinity : Math.max(0, Math.floor((now - this.origin) / (this.steps * this.secondsPerStep)));
  }
}
