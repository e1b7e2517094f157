// A melody in four voices: tapped, harmonised ten times over, heard, and taken along.

import { otherConditions } from "../conditions";
import { Choices, el, newest, prefersStill } from "../dom";
import type { Link } from "../link";
import { HOTTEST, HOTTEST_NOTES, MOST_PIECES } from "../link";
import type { Model } from "../model";
import { between, compose, melodyCondition } from "../music/compose";
import type { Takes } from "../music/compose";
import { PROGRAMS, TIMBRES } from "../music/instrument";
import type { Timbre } from "../music/instrument";
import { MELODIES, melodyOf, within } from "../music/melodies";
import { midiFile } from "../music/midi";
import { lineFrom, notesOf, pairsOf, voicesOf } from "../music/notes";
import type { Line } from "../music/notes";
import { Player } from "../music/player";
import { readMelody } from "../music/read_midi";
import { Roll } from "../music/roll";
import type { Edit } from "../music/roll";
import { SEEDS, anySeed } from "../random";
import { copyLink, shareOrSave } from "../share";
import type { Running, Stage, View } from "../stage";
import { markFirstImage, measureDrawing } from "../timing";

/** Pieces on the way from one to another, ends included. */
const WAY = 9;
const [SLOWEST, FASTEST, TEMPO] = [40, 160, 80];
const SEEDED = "of the seed";
const OWN = "yours";
/** As a part of 1: what float32 runtimes differ by when they add up probabilities. */
const ROUNDING = 1e-5;

export class MusicView implements View {
  readonly name = "music";
  readonly label = "Music";
  readonly music = true;
  readonly element: HTMLElement;
  private readonly title = el("h2");
  private readonly status = el("p", { class: "status", "aria-live": "polite" });
  private readonly roll = new Roll({ edit: (edit, at) => this.edit(edit, at), done: (pitch, at) => this.edited(pitch, at) });
  private readonly voices = el("div", { class: "voices", role: "group", "aria-label": "Voices that are heard" });
  private readonly playButton = el("button", { type: "button", class: "play", click: (event) => this.toggle(event) }, "Play");
  private readonly loopButton = el("button", { type: "button", "aria-pressed": "true", click: () => this.toggleLoop() }, "Loop");
  private readonly tempo = el("input", { type: "range", min: String(SLOWEST), max: String(FASTEST), step: "4", value: String(TEMPO), "aria-label": "Beats a minute" });
  private readonly beats = el("output", {}, String(TEMPO));
  private readonly takesGroup = new Choices("Pieces", (value) => this.choose(Number(value)));
  private readonly melodies = el("select", { "aria-label": "Melody" });
  private readonly lengths = new Choices("Length of a tapped note", (value) => this.setGrid(Number(value)));
  private readonly file = el("input", { type: "file", accept: ".mid,.midi,audio/midi", hidden: true, "aria-label": "MIDI file", change: () => void this.open() });
  private readonly melodyRow = el("div", { class: "melody" });
  private readonly others = el("div", { class: "others" });
  private readonly seed = el("input", { type: "number", min: "0", max: String(SEEDS - 1), step: "1", value: "42", inputmode: "numeric" });
  private readonly heat = el("input", { type: "range", min: "0", max: String(HOTTEST_NOTES), step: "0.05", value: "0.7", "aria-label": "Temperature of the notes" });
  private readonly heatValue = el("output", {}, "0.7");
  private readonly codeHeat = el("input", { type: "range", min: "0", max: String(HOTTEST), step: "0.05", value: "1", "aria-label": "Temperature of the code" });
  private readonly codeHeatValue = el("output", {}, "1");
  private readonly timbres = new Choices("Sound", (value) => this.setTimbre(value as Timbre));
  private readonly target = el("select", { "aria-label": "Morph to" });
  private readonly time = el("input", { type: "range", min: "0", max: String(WAY - 1), step: "1", value: "0", "aria-label": "How far the morph is" });
  private readonly way = el("div", { class: "walk" }, el("label", { class: "field" }, "morph to", this.target), this.time);
  private readonly player: Player;
  private running: Running | null = null;
  private melody: Line | null = null;
  private takes: Takes | null = null;
  private chosen = 0;
  private wanted: Link | null = null;
  private shown: Line[] = [];
  private animation = 0;
  private readonly fail = (err: unknown) => this.stage.fail(err, this.running?.model);
  private readonly update = newest<void>(() => this.harmonise(), this.fail);
  private readonly step = newest<number>((place) => this.morph(place), this.fail);

  constructor(private readonly stage: Stage) {
    this.player = new Player(
      () => this.names.length,
      () => {
        this.ended();
        this.status.textContent = "Finished.";
      },
    );
    for (const input of [this.seed, this.heat, this.codeHeat]) input.addEventListener("input", () => this.changed());
    this.melodies.addEventListener("change", () => this.takeMelody());
    this.tempo.addEventListener("input", () => this.retime());
    this.target.addEventListener("change", () => this.step(this.time.valueAsNumber));
    this.time.addEventListener("input", () => this.step(this.time.valueAsNumber));
    this.timbres.set(TIMBRES.map((value) => ({ value, label: value })), this.player.timbre);
    const dice = el("button", { type: "button", "aria-label": "Another seed", click: () => this.another() }, "⚄");
    const clear = el("button", { type: "button", class: "quiet", click: () => this.clear() }, "Clear");
    const open = el("button", { type: "button", class: "quiet", click: () => this.file.click() }, "Open MIDI");
    const link = el("button", { type: "button", class: "quiet", click: () => void copyLink(this.stage, "sings the same") }, "Copy link");
    const save = el("button", { type: "button", class: "quiet", click: () => void this.save() }, "Save MIDI");
    this.melodyRow.append(el("label", { class: "field" }, "melody", this.melodies), this.lengths.element, clear, open, this.file);
    this.element = el(
      "section",
      { class: "view music", id: "view-music", role: "tabpanel", "aria-labelledby": "tab-music" },
      el("div", { class: "intro" }, this.title, this.status),
      this.roll.element,
      this.voices,
      el("div", { class: "transport" }, this.playButton, this.loopButton, el("label", { class: "field" }, "tempo", this.tempo, this.beats)),
      this.takesGroup.element,
      this.way,
      el(
        "div",
        { class: "controls" },
        this.melodyRow,
        this.others,
        el(
          "div",
          { class: "fields" },
          el("div", { class: "field wide seed" }, el("label", { class: "field" }, "seed", this.seed), dice),
          el("label", { class: "field wide" }, "temperature", this.heat, this.heatValue),
          el("label", { class: "field wide" }, "of the code", this.codeHeat, this.codeHeatValue),
        ),
        this.timbres.element,
        el("div", { class: "actions" }, link, save),
      ),
    );
  }

  fits(model: Model): boolean {
    return model.manifest.notes !== null && (model.has("sampler") || (model.has("decoder") && model.manifest.standardNormal));
  }

  show(running: Running): void {
    if (this.running?.model !== running.model) {
      this.running = running;
      this.takes = null;
      this.layOut(running.model);
    }
    if (this.wanted) this.follow(this.wanted);
    this.update();
  }

  hide(): void {
    this.player.rest();
    this.ended();
  }

  want(link: Link): void {
    this.wanted = link;
  }

  private follow({ seed, temperature, tokenTemperature, piece, melody }: Link): void {
    this.wanted = null;
    if (seed !== null) this.seed.value = String(seed);
    if (temperature !== null) this.codeHeat.value = String(temperature);
    if (tokenTemperature !== null) this.heat.value = String(tokenTemperature);
    this.showNumbers();
    if (piece !== null) {
      this.chosen = piece - 1;
      this.takesGroup.mark(String(this.chosen));
    }
    if (melody === null || !this.melody) return;
    this.melodies.value = OWN;
    this.melody = within(lineFrom(melody, this.melody.length), this.running!.model.manifest.notes!);
  }

  private get names(): string[] {
    const notes = this.running?.model.manifest.notes;
    return notes ? voicesOf(notes) : [];
  }

  private layOut(model: Model): void {
    const { manifest } = model;
    const notes = manifest.notes!;
    const sings = melodyCondition({ manifest, notes }) !== null;
    this.title.textContent = sings ? "Tap your own melody" : "A seed, sung";
    this.melodyRow.hidden = !sings;
    if (this.melodies.options.length === 0) {
      this.melodies.append(...[...Object.keys(MELODIES), SEEDED].map((name) => el("option", {}, name)), el("option", { hidden: true }, OWN));
    }
    const grids = [notes.stepsPerBeat, notes.stepsPerBeat / 2, notes.stepsPerBeat / 4].filter((grid) => Number.isInteger(grid));
    this.lengths.set(grids.map((grid) => ({ value: String(grid), label: `1/${(4 * notes.stepsPerBeat) / grid}` })), String(grids[0]));
    this.roll.grid = grids[0]!;
    if (sings) this.readMelody();
    else this.melody = null;
    this.voices.replaceChildren(...this.names.map((name, voice) => this.voiceButton(name, voice)));
    this.takesGroup.set(Array.from({ length: MOST_PIECES }, (_, i) => ({ value: String(i), label: String(i + 1) })), String(this.chosen));
    this.target.replaceChildren(...Array.from({ length: MOST_PIECES }, (_, i) => el("option", { value: String(i) }, String(i + 1))));
    this.target.value = String((this.chosen + 1) % MOST_PIECES);
    this.way.hidden = !model.has("decoder");
    this.others.replaceChildren(...otherConditions(this.stage, manifest, () => this.changed()));
  }

  private voiceButton(name: string, voice: number): HTMLElement {
    const button = el("button", { type: "button", "data-voice": String((voice % 4) + 1), "aria-pressed": "true" }, name);
    button.addEventListener("click", () => {
      const { muted } = this.player;
      if (!muted.delete(voice)) muted.add(voice);
      button.setAttribute("aria-pressed", String(!muted.has(voice)));
      this.present(this.shown);
    });
    return button;
  }

  /** The melody that is chosen in the list. */
  private readMelody(): void {
    const { notes } = this.running!.model.manifest;
    const name = this.melodies.value;
    if (name === OWN && this.melody?.length === notes!.steps) return;
    if (name === SEEDED && !this.hasSeed) return;
    if (name === OWN) this.melodies.value = Object.keys(MELODIES)[0]!;
    const line = name === SEEDED ? melodyOf(this.seed.valueAsNumber, notes!.steps) : lineFrom(MELODIES[this.melodies.value]!, notes!.steps);
    this.melody = within(line, notes!);
  }

  private takeMelody(): void {
    this.readMelody();
    this.update();
  }

  private clear(): void {
    if (!this.melody) return;
    this.melody = this.melody.map(() => ({ pitch: 0, struck: false }));
    this.melodies.value = OWN;
    this.update();
  }

  /** The melody of a MIDI file, as much of it as there is room for, and moved to where it can be sung. */
  private async open(): Promise<void> {
    const file = this.file.files?.[0];
    if (!file || !this.running) return;
    const notes = this.running.model.manifest.notes!;
    try {
      const { line, isWhole } = readMelody(new Uint8Array(await file.arrayBuffer()), notes.stepsPerBeat, notes.steps);
      const melody = within(line, notes);
      const isMoved = melody.some(({ pitch }, step) => pitch > 0 && pitch !== line[step]!.pitch);
      const lost = melody.filter(({ pitch }, step) => pitch === 0 && line[step]!.pitch > 0).length;
      this.melody = melody;
      this.melodies.value = OWN;
      this.update();
      const what = [
        ...(isWhole ? [] : [`its first ${notes.steps / notes.stepsPerBeat} beats`]),
        ...(isMoved ? ["moved by octaves into the range"] : []),
        ...(lost ? [`${lost} steps out of the range are rests`] : []),
      ];
      if (what.length > 0) this.stage.notice(`${file.name}: ${what.join(", ")}.`);
    } catch (err) {
      this.stage.fail(err);
    }
    // So that the same file may be opened again.
    this.file.value = "";
  }

  private setGrid(grid: number): void {
    this.roll.grid = grid;
    this.present(this.shown);
  }

  private edit({ step, length, pitch }: Edit, at: number): void {
    const { melody } = this;
    if (!melody) return;
    const end = Math.min(melody.length, step + length);
    this.melody = melody.map((before, i) => {
      if (i >= step && i < end) return { pitch, struck: pitch > 0 && i === step };
      // What was held beyond the new note begins anew behind it.
      return i === end && before.pitch > 0 ? { ...before, struck: true } : before;
    });
    this.melodies.value = OWN;
    this.present([this.melody, ...this.shown.slice(1)], false);
    if (pitch > 0) this.player.preview(0, pitch, at);
  }

  private edited(pitch: number, at: number): void {
    // A first touch may make sounds only when it is over.
    if (this.player.isSilent && pitch > 0) this.player.preview(0, pitch, at);
    performance.mark("drawing finished", { startTime: at });
    this.update();
  }

  private showNumbers(): void {
    this.heatValue.textContent = String(this.heat.valueAsNumber);
    this.codeHeatValue.textContent = String(this.codeHeat.valueAsNumber);
  }

  private changed(): void {
    this.showNumbers();
    this.seed.setAttribute("aria-invalid", String(!this.hasSeed));
    if (this.melody && this.melodies.value === SEEDED) this.readMelody();
    this.update();
  }

  private get hasSeed(): boolean {
    return this.seed.value !== "" && this.seed.validity.valid;
  }

  private another(): void {
    this.seed.value = String(anySeed());
    this.changed();
  }

  private async harmonise(): Promise<void> {
    if (!this.running) return;
    if (!this.hasSeed) {
      this.status.textContent = `The seed must be a whole number from 0 to ${SEEDS - 1}.`;
      return;
    }
    const { model } = this.running;
    const begun = performance.now();
    const seed = this.seed.valueAsNumber;
    const drawn = { seed, temperature: this.codeHeat.valueAsNumber, tokenTemperature: this.heat.valueAsNumber };
    const takes = await compose(model, this.melody, this.stage.choice, drawn);
    if (this.running.model !== model) return;
    this.takes = takes;
    this.time.value = "0";
    this.present(takes.pieces[this.chosen]!);
    measureDrawing(begun);
    markFirstImage();
    this.player.prepare();
    const what = takes.melody ? "Ten harmonisations" : "Ten pieces";
    this.status.textContent = `${what} of seed ${seed}: this is ${this.chosen + 1}.${this.doubt(takes)}`;
    this.setLink(takes);
  }

  private choose(index: number): void {
    this.chosen = index;
    if (this.target.value === String(index)) this.target.value = String((index + 1) % MOST_PIECES);
    this.time.value = "0";
    if (!this.takes) return;
    this.present(this.takes.pieces[index]!);
    this.status.textContent = `This is ${index + 1} of ${MOST_PIECES}.${this.doubt(this.takes)}`;
    this.setLink(this.takes);
  }

  private setLink({ melody, choice, drawn }: Takes): void {
    const named = this.running!.model.manifest.conditions.filter(({ kind }) => kind === "categorical");
    this.stage.setLink(this, {
      classes: Object.fromEntries(named.map(({ name, names }) => [name, names[choice[name] as number]!])),
      ...drawn,
      piece: this.chosen + 1,
      melody: melody && pairsOf(melody),
    });
  }

  /** Rounding differs from device to device: where a draw was that close, a note may. */
  private doubt({ margin }: Takes): string {
    const isClose = margin !== null && margin[this.chosen]! < ROUNDING && this.running!.model.precision !== "exact";
    return isClose ? " It was a close draw: another device may sing a note of it otherwise." : "";
  }

  private async morph(place: number): Promise<void> {
    if (!this.running || !this.takes) return;
    const { takes } = this;
    const lines = await between(this.running.model, takes, this.chosen, Number(this.target.value), place / (WAY - 1));
    if (this.takes !== takes) return;
    this.present(lines);
    const ends = `${this.chosen + 1} to ${Number(this.target.value) + 1}`;
    this.time.setAttribute("aria-valuetext", `${place} of ${WAY - 1} from ${ends}`);
    this.status.textContent = `On the way from ${ends}, step ${place} of ${WAY - 1}.`;
  }

  /** Show a piece, and play it on if one is playing. */
  private present(lines: Line[], isWhole = true): void {
    if (!this.running) return;
    this.shown = lines;
    const { notes } = this.running.model.manifest;
    this.roll.show(notes!, notesOf(lines), this.melody, this.player.muted);
    if (isWhole && this.player.playing) this.player.swap(this.piece());
  }

  private piece() {
    const { steps } = this.running!.model.manifest.notes!;
    return { notes: notesOf(this.shown), steps, secondsPerStep: this.secondsPerStep, loop: this.loops };
  }

  private get loops(): boolean {
    return this.loopButton.ariaPressed === "true";
  }

  private get secondsPerStep(): number {
    return 60 / this.tempo.valueAsNumber / this.running!.model.manifest.notes!.stepsPerBeat;
  }

  private toggle(event: Event): void {
    if (this.player.playing) {
      this.stop();
      this.status.textContent = "Stopped.";
      return;
    }
    if (this.shown.length === 0) return;
    this.player.start(this.piece(), event.timeStamp);
    this.playButton.textContent = "Stop";
    this.status.textContent = `Playing ${this.chosen + 1} at ${this.tempo.value} beats a minute.`;
    const still = prefersStill();
    const beat = this.running!.model.manifest.notes!.stepsPerBeat;
    const follow = () => {
      const { step } = this.player;
      this.roll.follow(step !== null && still ? Math.floor(step / beat) * beat : step);
      if (this.player.playing) this.animation = requestAnimationFrame(follow);
    };
    follow();
  }

  private stop(): void {
    this.player.stop();
    this.ended();
  }

  private ended(): void {
    cancelAnimationFrame(this.animation);
    this.roll.follow(null);
    this.playButton.textContent = "Play";
  }

  private toggleLoop(): void {
    this.loopButton.setAttribute("aria-pressed", String(!this.loops));
    this.player.setLoop(this.loops);
  }

  private retime(): void {
    this.beats.textContent = this.tempo.value;
    if (this.running) this.player.retime(this.secondsPerStep);
  }

  private setTimbre(timbre: Timbre): void {
    this.player.timbre = timbre;
    this.present(this.shown);
  }

  private async save(): Promise<void> {
    if (!this.running || this.shown.length === 0) return;
    const { stepsPerBeat } = this.running.model.manifest.notes!;
    const content = midiFile({
      notes: notesOf(this.shown),
      voices: this.names,
      stepsPerBeat,
      tempo: this.tempo.valueAsNumber,
      program: PROGRAMS[this.player.timbre],
    });
    const name = `piece-${this.seed.value}-${this.chosen + 1}.mid`;
    try {
      const outcome = await shareOrSave(new Blob([content], { type: "audio/midi" }), name);
      if (outcome === "saved") this.stage.notice(`Saved as ${name}.`);
    } catch (err) {
      this.stage.fail(err);
    }
  }
}
