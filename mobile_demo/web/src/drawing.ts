// A canvas to draw on with a finger, a pen or a mouse, and its strokes.

import { inkColour } from "./ink";
import type { Grey } from "./preprocess";

/** Points on a unit square. */
export type Stroke = [number, number][];

const PEN = 0.075;
/** Of the longer side of what is drawn: as thick as in MNIST. */
const PEN_OF_DRAWING = 0.115;
const RASTER = 112;

/** Strokes that several views share. */
export class Drawing extends EventTarget {
  strokes: Stroke[] = [];
  pen = 1;

  get isEmpty(): boolean {
    return this.strokes.length === 0;
  }

  set(strokes: Stroke[], pen = 1): void {
    this.strokes = strokes;
    this.pen = pen;
    this.changed();
  }

  changed(): void {
    this.dispatchEvent(new Event("change"));
  }

  /** The strokes in white on black, as large as fits, with a pen as thick as the training set's. */
  raster(): Grey {
    const points = this.strokes.flat();
    const values = new Float32Array(RASTER * RASTER);
    if (points.length === 0) return { values, height: RASTER, width: RASTER };
    const [left, top] = [Math.min(...points.map(([x]) => x)), Math.min(...points.map(([, y]) => y))];
    const [right, bottom] = [Math.max(...points.map(([x]) => x)), Math.max(...points.map(([, y]) => y))];
    const side = Math.max(right - left, bottom - top, PEN);
    const scale = (0.8 * RASTER) / side;
    const canvas = new OffscreenCanvas(RASTER, RASTER);
    const context = canvas.getContext("2d", { willReadFrequently: true })!;
    context.translate(RASTER / 2, RASTER / 2);
    context.scale(scale, scale);
    context.translate(-(left + right) / 2, -(top + bottom) / 2);
    trace(context, this.strokes, side * PEN_OF_DRAWING * this.pen, "#fff");
    const { data } = context.getImageData(0, 0, RASTER, RASTER);
    for (let i = 0; i < values.length; i++) values[i] = data[4 * i + 3]! / 255;
    return { values, height: RASTER, width: RASTER };
  }
}

/** A canvas that shows a drawing and lets a person draw. */
export class DrawingCanvas {
  readonly element: HTMLCanvasElement;
  private current: Stroke | null = null;

  constructor(
    private readonly drawing: Drawing,
    label: string,
    private readonly on: { start(): void; end(): void },
  ) {
    this.element = document.createElement("canvas");
    this.element.className = "drawing";
    this.element.setAttribute("role", "img");
    this.element.setAttribute("aria-label", label);
    this.element.addEventListener("pointerdown", (event) => this.begin(event));
    this.element.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) this.element.addEventListener(name, () => this.finish());
    drawing.addEventListener("change", () => this.paint());
    new ResizeObserver(() => this.paint()).observe(this.element);
  }

  paint(): void {
    const { clientWidth } = this.element;
    if (!clientWidth) return;
    const size = Math.round(clientWidth * Math.min(3, devicePixelRatio));
    if (this.element.width !== size) this.element.width = this.element.height = size;
    const context = this.element.getContext("2d")!;
    context.setTransform(size, 0, 0, size, 0, 0);
    context.clearRect(0, 0, 1, 1);
    trace(context, this.drawing.strokes, PEN * (0.6 + 0.4 * this.drawing.pen), `rgb(${inkColour().join(" ")})`);
  }

  private begin(event: PointerEvent): void {
    if (event.button !== 0) return;
    event.preventDefault();
    this.element.setPointerCapture(event.pointerId);
    this.on.start();
    this.current = [this.point(event)];
    this.drawing.pen = 1;
    this.drawing.strokes.push(this.current);
    this.drawing.changed();
  }

  private move(event: PointerEvent): void {
    if (!this.current) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const one of events.length ? events : [event]) this.current.push(this.point(one));
    this.drawing.changed();
  }

  private finish(): void {
    if (!this.current) return;
    this.current = null;
    performance.mark("drawing finished");
    this.on.end();
  }

  private point(event: PointerEvent): [number, number] {
    const { left, top, width, height } = this.element.getBoundingClientRect();
    const inside = (value: number) => Math.min(1, Math.max(0, value));
    return [inside((event.clientX - left) / width), inside((event.clientY - top) / height)];
  }
}

function trace(
  context: CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D,
  strokes: Stroke[],
  pen: number,
  colour: string,
): void {
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = pen;
  context.strokeStyle = colour;
  for (const stroke of strokes) {
    context.beginPath();
    const [first] = stroke;
    if (!first) continue;
    context.moveTo(...first);
    // Through the middles, with the points as handles: no corners between them.
    for (let i = 1; i + 1 < stroke.length; i++) {
      const [[x, y], [nextX, nextY]] = [stroke[i]!, stroke[i + 1]!];
      context.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
    }
    context.lineTo(...stroke.at(-1)!);
    context.stroke();
  }
}
