// What the views share: the model that is running, the drawing, the chosen classes, and how to
// tell a person something.

import type { Drawing } from "./drawing";
import type { Painter } from "./ink";
import type { Link } from "./link";
import type { Choice, Model } from "./model";

export interface Running {
  model: Model;
  painter: Painter;
}

export interface Stage {
  readonly drawing: Drawing;
  readonly running: Running | null;
  /** The class of each condition; continuous ones as numbers. */
  choice: Choice;
  notice(text: string): void;
  /** Say what failed, unless it belongs to a model that is no longer running. */
  fail(err: unknown, model?: Model): void;
  /** Let the address be a link to what a view shows. */
  setLink(view: View, link: Partial<Link>): void;
}

export interface View {
  readonly name: string;
  readonly label: string;
  /** Whether it is for models of music; else for those of pictures. */
  readonly music: boolean;
  /** Whether it is for models of tables. */
  readonly table?: boolean;
  /** Whether it is for models of series. */
  readonly series?: boolean;
  readonly element: HTMLElement;
  /** Whether a model can be shown in this view. */
  fits(model: Model): boolean;
  /** The view is seen, with a model that may be another one than before. */
  show(running: Running): void;
  /** Take over what a link asked for, when it is shown next. */
  want?(link: Link): void;
  hide(): void;
}
