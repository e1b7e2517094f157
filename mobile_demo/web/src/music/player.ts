// Plays a piece in time: notes are laid on the audio clock a little ahead, for timers come late.

import type { Play, Playing, Timbre } from "./instrument";
import { instrument } from "./instrument";
import type { Note } from "./notes";
import { Schedule } from "./schedule";

const TICK_MS = 25;
const AHEAD = 0.15;
/** Timers of a page that is not seen come once a second. */
const AHEAD_HIDDEN = 1.6;
/** From now until the first note: its events must reach the audio thread before. */
const SOON = 0.01;
const PREVIEW_SECONDS = 0.35;

export interface Piece {
  notes: Note[];
  steps: number;
  secondsPerStep: number;
  loop: boolean;
}

export class Player {
  private context: AudioContext | null = null;
  private play: Play | null = null;
  private output: AudioNode | null = null;
  private made = "";
  private schedule: Schedule | null = null;
  private sounding: Playing[] = [];
  private timer = 0;
  private measured = false;

  constructor(
    private readonly voices: () => number,
    private readonly onEnd: () => void,
  ) {
    document.addEventListener("visibilitychange", () => this.tick());
  }

  timbre: Timbre = "organ";
  /** Voices that are not heard. */
  readonly muted = new Set<number>();

  get playing(): boolean {
    return this.schedule !== null;
  }

  /** The step that is heard now, with what has passed of it. */
  get step(): number | null {
    return this.schedule && this.context ? this.schedule.stepAt(this.heard(this.context)) : null;
  }

  /** Whether the browser has not let it make a sound yet. */
  get isSilent(): boolean {
    return this.context?.state !== "running";
  }

  /** Make the instrument, which takes a tenth of a second: before it is asked for. */
  prepare(): void {
    if (!this.context) {
      this.context = new AudioContext({ latencyHint: "interactive" });
      // Some browsers let it run at once.
      this.rest();
    }
    // An iPhone that does not ring makes no sounds of pages either, but for this.
    const { audioSession } = navigator as { audioSession?: { type: string } };
    if (audioSession) audioSession.type = "playback";
    const wanted = `${this.timbre} ${this.voices()}`;
    if (this.made === wanted) return;
    this.output?.disconnect();
    const { play, output } = instrument(this.context, this.timbre, this.voices());
    output.connect(this.context.destination);
    [this.play, this.output, this.made] = [play, output, wanted];
  }

  /** Play a piece; called by a tap, which lets a browser make sounds. */
  start(piece: Piece, tapped: number): void {
    const context = this.awake();
    const begin = context.currentTime + SOON;
    this.begin(piece, begin, 0);
    void this.measure(context, begin, tapped);
  }

  /** Another piece in the place of the one that plays, in its time. */
  swap(piece: Piece): void {
    if (!this.schedule) return;
    const begin = this.awake().currentTime + SOON;
    const step = this.schedule.stepAt(begin);
    if (step !== null) this.begin(piece, begin, step);
  }

  retime(secondsPerStep: number): void {
    this.schedule?.retime(secondsPerStep);
  }

  setLoop(loop: boolean): void {
    if (this.context) this.schedule?.setLoop(loop, this.context.currentTime);
  }

  stop(): void {
    clearInterval(this.timer);
    this.schedule = null;
    const now = this.context?.currentTime ?? 0;
    for (const playing of this.sounding) playing.stop(now);
    this.sounding = [];
  }

  /** Let the device's sound sleep until it is needed. */
  rest(): void {
    this.stop();
    void this.context?.suspend();
  }

  /** One note, as it is tapped. */
  preview(voice: number, pitch: number, tapped: number): void {
    if (this.playing) return;
    const context = this.awake();
    const now = context.currentTime;
    for (const playing of this.sounding) playing.stop(now);
    this.sounding = [this.play!(voice, pitch, now + SOON, PREVIEW_SECONDS)];
    void this.measure(context, now + SOON, tapped);
  }

  private awake(): AudioContext {
    this.prepare();
    // Refused until a person has touched the page, then granted: nothing to say about it.
    if (this.context!.state !== "running") this.context!.resume().catch(() => undefined);
    return this.context!;
  }

  private begin({ notes, steps, secondsPerStep, loop }: Piece, at: number, step: number): void {
    this.stop();
    this.schedule = new Schedule(notes, steps, secondsPerStep, loop, at, step);
    this.timer = window.setInterval(() => this.tick(), TICK_MS);
    this.tick();
  }

  private tick(): void {
    const { context, schedule, play } = this;
    if (!context || !schedule || !play) return;
    const now = context.currentTime;
    this.sounding = this.sounding.filter(({ until }) => until > now);
    for (const { note, at, seconds } of schedule.due(now + (document.hidden ? AHEAD_HIDDEN : AHEAD))) {
      // After a long pause of the page some may be over: they are not made up for.
      const late = Math.max(0, now - at);
      if (late >= seconds || this.muted.has(note.voice)) continue;
      this.sounding.push(play(note.voice, note.pitch, at + late, seconds - late));
    }
    if (schedule.stepAt(now) !== null) return;
    clearInterval(this.timer);
    this.schedule = null;
    this.onEnd();
  }

  /** What leaves the loudspeaker now was computed a little earlier. */
  private heard(context: AudioContext): number {
    return context.currentTime - (context.outputLatency || context.baseLatency || 0);
  }

  /** For the figures: from the first tap of a visit to when its note leaves the device. */
  private async measure(context: AudioContext, begin: number, tapped: number): Promise<void> {
    if (this.measured) return;
    this.measured = true;
    while (context.currentTime < begin + 0.1) await new Promise((resolve) => setTimeout(resolve, 50));
    const { contextTime = 0, performanceTime = 0 } = context.getOutputTimestamp();
    performance.measure("tap to sound", { start: tapped, end: performanceTime + 1000 * (begin - contextTime) });
  }
}
