// What a model makes of a melody, or of nothing: ten pieces, and those on the way between two.

import type { Tensors } from "../engines/engine";
import type { Notes } from "../manifest";
import type { Choice, Drawing, Model } from "../model";
import { repeated } from "../latent";
import { MOST_PIECES } from "../link";
import { draw } from "../random";
import { linesOf, tokensOf } from "./notes";
import type { Line } from "./notes";

/** Pieces of one seed. */
export interface Takes {
  melody: Line | null;
  choice: Choice;
  drawn: Drawing;
  /** The lines of each piece, that of the melody first. */
  pieces: Line[][];
  /** The code of each piece, row after row. */
  z: Float32Array;
  /** How near the closest draw of each piece came to another note, where the file says it. */
  margin: Float32Array | null;
}

/** The condition that a melody is, if the model takes one. */
export function melodyCondition({ manifest, notes }: { manifest: Model["manifest"]; notes: Notes }): string | null {
  return manifest.conditions.find(({ name, kind }) => kind === "sequence" && Object.hasOwn(notes.given, name))?.name ?? null;
}

export async function compose(model: Model, melody: Line | null, choice: Choice, drawn: Drawing): Promise<Takes> {
  const notes = model.manifest.notes!;
  const name = melodyCondition({ manifest: model.manifest, notes });
  const full = name && melody ? { ...choice, [name]: tokensOf(melody, notes) } : choice;
  const choices = Array<Choice>(MOST_PIECES).fill(full);
  const { x, z, margin } = model.has("sampler")
    ? await model.draw(choices, drawn)
    : await decoded(model, draw(drawn.seed, MOST_PIECES, model.manifest.latentDim, drawn.temperature), choices, drawn);
  const pieces = choices.map((_, row) => pieceOf(x!, row, notes, melody));
  return { melody, choice: full, drawn, pieces, z: z!, margin: margin ?? null };
}

/**
 * The piece at a time from 0 to 1 on the straight way between the codes of two. What chance draws
 * for the notes is that of the nearer end: at both ends the way meets the pieces themselves.
 */
export async function between(model: Model, takes: Takes, from: number, to: number, time: number): Promise<Line[]> {
  if (time <= 0) return takes.pieces[from]!;
  if (time >= 1) return takes.pieces[to]!;
  const size = model.manifest.latentDim;
  const code = (row: number) => takes.z.subarray(row * size, (row + 1) * size);
  const mixed = code(from).map((value, i) => value + time * (code(to)[i]! - value));
  // The draws are those of a row: as many rows as it takes until there.
  const row = time < 0.5 ? from : to;
  const x = await model.decode(repeated(mixed, row + 1), Array<Choice>(row + 1).fill(takes.choice), takes.drawn);
  return pieceOf(x, row, model.manifest.notes!, takes.melody);
}

async function decoded(model: Model, z: Float32Array, choices: Choice[], drawn: Drawing): Promise<Tensors<Float32Array>> {
  return { x: await model.decode(z, choices, drawn), z };
}

function pieceOf(x: Float32Array, row: number, notes: Notes, melody: Line | null): Line[] {
  const size = notes.steps * notes.voices.length;
  const made = linesOf(x.subarray(row * size, (row + 1) * size), notes);
  return melody ? [melody, ...made] : made;
}
