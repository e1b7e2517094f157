// The page: starts the model, shows one of the views, and says what fails.

import "./style.css";

import { Drawing } from "./drawing";
import { el } from "./dom";
import { loadEngine } from "./engines/load";
import { Facts, RUNTIMES, measure } from "./facts";
import { Painter, isInk, isPicture } from "./ink";
import type { Link } from "./link";
import { MOST_ROWS, NO_LINK, formatLink, parseLink } from "./link";
import type { Condition, Format } from "./manifest";
import type { Bundle, Choice } from "./model";
import { Model, defaultChoice, fetchBundles, filesOf, formatsOf, oneLine, precisionsOf } from "./model";
import { instrument } from "./music/instrument";
import type { Kept } from "./offline";
import { keep, probe, register } from "./offline";
import { draw } from "./random";
import type { Running, Stage, View } from "./stage";
import { AnomalyView } from "./views/anomaly";
import { DrawView } from "./views/draw";
import { MorphView } from "./views/morph";
import { MusicView } from "./views/music";
import { PictureView } from "./views/picture";
import { RowsView } from "./views/rows";
import { SampleView } from "./views/sample";
import { ScoreView } from "./views/score";
import { SensorView } from "./views/sensor";

const CHOSEN = "runtime and precision";
const NOTICE_MS = 8000;

class Page implements Stage {
  readonly drawing = new Drawing();
  choice: Choice = {};
  running: Running | null = null;
  private bundles: Bundle[] = [];
  /** The one that is running or being started. */
  private bundle: Bundle | null = null;
  private readonly views: View[] = [
    new DrawView(this),
    new PictureView(this),
    new MorphView(this),
    new SampleView(this),
    new AnomalyView(this),
    new MusicView(this),
    new RowsView(this),
    new ScoreView(this),
    new SensorView(this),
  ];
  /** The views that a model was found not to have anything for. */
  private readonly unfit = new Set<View>();
  private readonly facts = new Facts(byId("facts"), (format, precision) => void this.start(format, precision));
  private current: View = this.views[0]!;
  /** Whether a person chose the view, rather than the data. */
  private isChosen = false;
  private switching = 0;
  private registration: Promise<ServiceWorkerRegistration | null> = Promise.resolve(null);
  private online: boolean | null = null;
  private kept: Kept = "not yet";

  async open(): Promise<void> {
    const bundles = fetchBundles();
    // The runtime is the largest file by far: it waits neither for the list of models nor the layout.
    loadEngine(this.wish(null)[0]).catch(() => undefined);
    this.layOut();
    probe((online) => {
      this.online = online;
      this.showNetwork();
    });
    this.registration = register((apply) => {
      this.notice("A new version of this page is ready.", el("button", { type: "button", click: apply }, "Load it"));
    });
    try {
      this.bundles = await bundles;
    } catch (err) {
      return this.fail(err);
    }
    this.bundle = this.bundleOf(this.asked()) ?? this.bundles[0]!;
    await this.start(...this.wish(this.bundle));
    addEventListener("hashchange", () => this.followLink());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      if (this.running) this.current.show({ ...this.running });
    });
  }

  /** Run the model in a runtime; if that fails, say so and offer the other. */
  private async start(format: Format, precision: string): Promise<void> {
    const { bundle } = this;
    if (!bundle) return;
    const [before, now] = [this.running?.model, document.body.dataset.state];
    if (now === "ready" && before?.id === bundle.id && before.format === format && before.precision === precision) return;
    const turn = ++this.switching;
    const wanted = `${format} ${precision}`;
    if (!precisionsOf(bundle, format).includes(precision)) precision = precisionsOf(bundle, format)[0] ?? precision;
    this.facts.offer(bundle, format, precision);
    document.body.dataset.state = "loading";
    document.body.dataset.kept = "not yet";
    let model: Model;
    try {
      model = await Model.open(bundle, format, precision);
    } catch (err) {
      if (turn !== this.switching) return;
      document.body.dataset.state = this.running ? "ready" : "failed";
      this.goBack();
      return this.offerOther(err, bundle, format, precision);
    }
    if (turn !== this.switching) return void model.dispose();
    try {
      this.running = { model, painter: new Painter(model.manifest) };
    } catch (err) {
      return this.fail(err);
    }
    if (before?.id !== model.id) this.choice = defaultChoice(model.manifest);
    remember(wanted);
    this.facts.show(model);
    this.current.hide();
    this.showTabs();
    this.followLink();
    await before?.dispose();
    document.body.dataset.state = "ready";
    document.body.dataset.runtime = format;
    document.body.dataset.precision = precision;
    await this.afterwards(model);
  }

  /** What can wait until the first image is seen. */
  private async afterwards(model: Model): Promise<void> {
    for (let i = 0; i < 100 && performance.getEntriesByName("first image").length === 0; i++) await sleep(20);
    const [first] = performance.getEntriesByName("first image");
    if (first) this.facts.firstImage(first.startTime);
    await sleep(300);
    if (this.running?.model !== model) return;
    try {
      // A piece takes longer than an image, and nobody is to wait for this.
      this.facts.time(await (model.manifest.notes ? measure(model, 5, 1) : measure(model)));
      this.facts.proof(await model.generator.selfTest());
    } catch (err) {
      this.fail(err, model);
    }
    this.kept = "not yet";
    this.showNetwork();
    // The other models' files too, for their tabs are there.
    const files = [...model.files, ...this.bundles.flatMap((bundle) => filesOf(bundle, ...this.wish(bundle)))];
    this.kept = await keep(await this.registration, files.map(({ url }) => url));
    this.facts.kept(this.kept);
    this.showNetwork();
    document.body.dataset.kept = this.kept;
    if (this.kept === "no room") {
      this.notice("There is no room on this device to keep the page: it works while the network does.");
    }
  }

  /** Median milliseconds for one image. */
  async measure(runs: number): Promise<number> {
    this.current.hide();
    return measure(this.running!.model, runs);
  }

  /** The runtime and precision that were chosen last, as far as a model has them. */
  private wish(bundle: Bundle | null): [Format, string] {
    const formats: Format[] = bundle ? formatsOf(bundle) : ["tflite", "onnx"];
    const [wanted, precision = "none"] = (recall() ?? "").split(" ");
    const format = formats.find((one) => one === wanted) ?? formats[0]!;
    const precisions = bundle ? precisionsOf(bundle, format) : [precision];
    return [format, precisions.includes(precision) ? precision : (precisions[0] ?? precision)];
  }

  /** To the model that is running, after another could not be started. */
  private goBack(): void {
    const { running, bundles } = this;
    if (!running) return;
    this.bundle = bundles.find(({ id }) => id === running.model.id)!;
    this.facts.offer(this.bundle, running.model.format, running.model.precision);
    if (!this.current.fits(running.model)) this.choose(this.firstView(running.model));
  }

  private offerOther(err: unknown, bundle: Bundle, format: Format, precision: string): void {
    const other = formatsOf(bundle).find((one) => one !== format && precisionsOf(bundle, one).length > 0);
    if (!other) return this.fail(err);
    const use = () => {
      this.bundle = bundle;
      void this.start(other, precision);
    };
    this.notice(sentence(err), el("button", { type: "button", click: use }, `Use ${RUNTIMES[other]}`));
  }

  /** Handwriting is drawn first of all; of other pictures there are samples to look at. */
  private firstView(model: Model): View {
    const fitting = this.views.filter((view) => view.fits(model));
    const isSampled = isPicture(model.manifest) && !isInk(model.manifest);
    return (isSampled && fitting.find(({ name }) => name === "sample")) || fitting[0]!;
  }

  private bundleOf(view: View | undefined): Bundle | undefined {
    return view && this.bundles.find((bundle) => isOfKind(view, bundle));
  }

  notice(text: string, action?: HTMLButtonElement): void {
    const close = el("button", { type: "button", class: "quiet", "aria-label": "Close", click: () => box.remove() }, "×");
    const box = el("div", { class: "notice" }, el("p", {}, text), ...(action ? [action] : []), close);
    action?.addEventListener("click", () => box.remove());
    const before = [...byId("notices").children].find((one) => one.firstChild?.textContent === text);
    before?.remove();
    byId("notices").append(box);
    if (!action) setTimeout(() => box.remove(), NOTICE_MS);
  }

  fail(err: unknown, model?: Model): void {
    if (model && model !== this.running?.model) return;
    this.notice(sentence(err));
  }

  setLink(view: View, link: Partial<Link>): void {
    if (!this.running || this.current !== view) return;
    const numbers = Object.fromEntries(this.numbers().map(({ name }) => [name, this.choice[name] as number[]]));
    history.replaceState(null, "", formatLink({ ...NO_LINK, view: view.name, model: this.running.model.id, numbers, ...link }));
  }

  /** The conditions of the model that are numbers, and have a value. */
  private numbers(): Condition[] {
    const { conditions } = this.running!.model.manifest;
    return conditions.filter(({ kind, name }) => kind === "continuous" && Array.isArray(this.choice[name]));
  }

  /** The view that the link in the address names. */
  private asked(): View | undefined {
    const asked = new URLSearchParams(location.hash.slice(1)).get("view");
    return this.views.find(({ name }) => name === asked);
  }

  private followLink(): void {
    if (!this.running) return;
    const { manifest, id } = this.running.model;
    const views = this.views.filter((view) => this.bundleOf(view) && !this.unfit.has(view));
    const fits = (view: View) => view.fits(this.running!.model);
    const asked = views.find((view) => view === this.asked());
    // With its own model the link is followed once more.
    if (asked && !fits(asked)) return this.turnTo(asked);
    const { link, problems } = parseLink(location.hash, {
      views: views.map(({ name }) => name),
      model: id,
      most: manifest.table ? MOST_ROWS : undefined,
      classes: Object.fromEntries(manifest.conditions.filter(({ kind }) => kind === "categorical").map(({ name, names }) => [name, names])),
      numbers: Object.fromEntries(this.numbers().map(({ name, size, unknown }) => [name, { size, unknown: unknown === true }])),
    });
    for (const problem of problems) this.notice(problem);
    for (const condition of manifest.conditions) {
      const name = link.classes[condition.name];
      if (name !== undefined) this.choice[condition.name] = condition.names.indexOf(name);
      const values = link.numbers[condition.name];
      if (values !== undefined) this.choice[condition.name] = values;
    }
    asked?.want?.(link);
    this.turnTo(asked ?? (this.isChosen && fits(this.current) ? this.current : this.firstView(this.running.model)));
  }

  private layOut(): void {
    byId("views").append(...this.views.map(({ element }) => element));
    byId("tabs").append(
      ...this.views.map((view) =>
        el(
          "button",
          {
            type: "button",
            role: "tab",
            id: `tab-${view.name}`,
            "aria-controls": `view-${view.name}`,
            click: () => this.choose(view),
          },
          icon(view.name),
          el("span", {}, view.label),
        ),
      ),
    );
    byId("tabs").addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const tabs = [...byId("tabs").children].filter((tab): tab is HTMLElement => tab instanceof HTMLElement && !tab.hidden);
      const next = tabs[(tabs.indexOf(document.activeElement as HTMLElement) + (step ?? 0) + tabs.length) % tabs.length];
      if (!step || !next) return;
      next.focus();
      next.click();
    });
    this.showView();
    this.showNetwork();
  }

  private choose(view: View): void {
    this.isChosen = true;
    history.replaceState(null, "", formatLink({ ...NO_LINK, view: view.name }));
    this.turnTo(view);
  }

  private turnTo(view: View): void {
    if (view !== this.current) this.current.hide();
    this.current = view;
    this.showView();
    scrollTo(0, 0);
    if (!this.running) return;
    if (view.fits(this.running.model)) return view.show(this.running);
    // It belongs to another model, which is started first and then shows it.
    this.bundle = this.bundleOf(view) ?? this.bundle;
    void this.start(...this.wish(this.bundle));
  }

  private showTabs(): void {
    const { model } = this.running!;
    for (const view of this.views) {
      const { notes, table, series } = model.manifest;
      const kind = { music: notes !== null, table: table !== null, series: series !== null };
      if (isOfKind(view, kind) && !view.fits(model)) this.unfit.add(view);
      else this.unfit.delete(view);
      byId(`tab-${view.name}`).hidden = this.unfit.has(view) || !this.bundleOf(view);
    }
    byId("tabs").parentElement!.hidden = byId("tabs").querySelectorAll("[role=tab]:not([hidden])").length < 2;
  }

  private showView(): void {
    for (const view of this.views) {
      const on = view === this.current;
      view.element.hidden = !on;
      byId(`tab-${view.name}`).setAttribute("aria-selected", String(on));
      byId(`tab-${view.name}`).tabIndex = on ? 0 : -1;
    }
    document.body.dataset.view = this.current.name;
  }

  private showNetwork(): void {
    const badge = byId("network");
    const state = this.online === false ? "offline" : this.kept === "kept" ? "kept" : "online";
    badge.dataset.state = this.online === null ? "asking" : state;
    const words = { offline: "offline", kept: "works offline", online: "online" };
    badge.textContent = this.online === null ? " " : words[state];
  }
}

/** Whether a view is for the data of a model. */
function isOfKind(view: View, { music, table, series }: Pick<Bundle, "music" | "table" | "series">): boolean {
  return view.music === music && (view.table ?? false) === (table ?? false) && (view.series ?? false) === (series ?? false);
}

function icon(name: string): SVGElement {
  const paths: Record<string, string> = {
    draw: "M4 20c5-1 3-6 7-10s7-6 9-4-1 5-5 9-9 2-11 5",
    picture: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15 9h.01",
    morph: "M12 3v18M3 12h18M7 7l5-4 5 4M7 17l5 4 5-4",
    sample: "M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h6v6h-6z",
    music: "M9 18V5l11-2v13M9 18a3 3 0 1 1-6 0 3 3 0 0 1 6 0zM20 16a3 3 0 1 1-6 0 3 3 0 0 1 6 0z",
    rows: "M4 5h16v14H4zM4 10h16M4 14.5h16M10 5v14",
    score: "M5 19V9M12 19V5M19 19v-6",
    sensor: "M3 13h4l3-8 4 14 3-6h4",
    anomaly: "M3 19c4 0 4-13 8-13s4 13 10 13M18 5v6",
  };
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", paths[name] ?? "");
  svg.append(path);
  return svg;
}

function sentence(err: unknown): string {
  const line = oneLine(err);
  return /[.!?…]$/.test(line) ? line : `${line}.`;
}

function byId(id: string): HTMLElement {
  return document.getElementById(id)!;
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Storage may be full or forbidden; the page does without. */
function remember(value: string): void {
  try {
    localStorage.setItem(CHOSEN, value);
  } catch {
    // The next visit begins with the default.
  }
}

function recall(): string | null {
  try {
    return localStorage.getItem(CHOSEN);
  } catch {
    return null;
  }
}

const page = new Page();
// For the browser's console, and for the tests: await pocket.measure(200)
Object.assign(globalThis, { pocket: Object.assign(page, { draw, instrument }) });
void page.open();
