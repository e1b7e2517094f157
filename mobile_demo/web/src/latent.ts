// Places in the latent space: the map's plane, a drawing's code, the way from one class to another.

import type { Manifest } from "./manifest";
import type { Choice, Model } from "./model";
import { classNames, mainCondition } from "./model";
import { draw } from "./random";

/** Without a map in the manifest the first two latents, so far to each side. */
const REACH = 2.5;
/** More classes than these are not all tried on a drawing. */
const MOST_TRIED = 64;
const VARIATIONS = 10;

/** The code at a point of the square from -1 to 1. */
export function codeAt({ map, latentDim }: Manifest, u: number, v: number): Float32Array {
  if (map) return Float32Array.from(map.origin, (origin, i) => origin + u * map.x[i]! + v * map.y[i]!);
  const z = new Float32Array(latentDim);
  z[0] = REACH * u;
  if (latentDim > 1) z[1] = REACH * v;
  return z;
}

/** The same code for several rows. */
export function repeated(z: ArrayLike<number>, rows: number): Float32Array {
  const all = new Float32Array(z.length * rows);
  for (let row = 0; row < rows; row++) all.set(z as ArrayLike<number>, row * z.length);
  return all;
}

/** A choice for every class, all else alike; one choice without classes. */
export function everyClass(manifest: Manifest, choice: Choice): Choice[] {
  const main = mainCondition(manifest);
  return main ? classNames(main).map((_, i) => ({ ...choice, [main.name]: i })) : [choice];
}

export interface Reading {
  /** The code of what was drawn. */
  z: Float32Array;
  /** The class it was read as; null in a model without classes. */
  read: number | null;
}

/**
 * Encode an image. The encoder of a conditional model wants to be told the class, which a drawing
 * does not say: of all classes that one is taken under which the image comes back best.
 */
export async function read(model: Model, x: Float32Array, choice: Choice, told: number | null): Promise<Reading> {
  const main = mainCondition(model.manifest);
  const all = everyClass(model.manifest, choice);
  if (!main || told !== null || all.length > MOST_TRIED) {
    const one = main ? all[told ?? 0]! : choice;
    return { z: await model.encode(x, [one]), read: main ? (told ?? 0) : null };
  }
  const codes = await model.encode(repeated(x, all.length), all);
  const images = await model.decode(codes, all);
  let [best, least] = [0, Infinity];
  for (let row = 0; row < all.length; row++) {
    let error = 0;
    for (let i = 0; i < x.length; i++) error += (x[i]! - images[row * x.length + i]!) ** 2;
    if (error < least) [best, least] = [row, error];
  }
  const size = model.manifest.latentDim;
  return { z: codes.slice(best * size, (best + 1) * size), read: best };
}

/** The code with every class; without classes, with ever larger changes. */
export async function inEveryClass(model: Model, z: Float32Array, choice: Choice): Promise<Float32Array> {
  const { manifest } = model;
  if (mainCondition(manifest)) {
    const all = everyClass(manifest, choice);
    return model.decode(repeated(z, all.length), all);
  }
  const noise = draw(7, VARIATIONS, manifest.latentDim);
  const codes = repeated(z, VARIATIONS).map((value, i) => {
    const row = Math.floor(i / manifest.latentDim);
    return value + 0.12 * row * noise[i]!;
  });
  return model.decode(codes, Array<Choice>(VARIATIONS).fill(choice));
}

export function tileNames(manifest: Manifest, yours: string): string[] {
  const main = mainCondition(manifest);
  return main ? classNames(main) : Array.from({ length: VARIATIONS }, (_, i) => (i ? `variation ${i}` : yours));
}

/** What lies between two numbers or codes, at a time from 0 to 1. */
export function mix(a: ArrayLike<number>, b: ArrayLike<number>, t: number): Float32Array {
  return Float32Array.from(a, (value, i) => value + t * (b[i]! - value));
}

/** Codes of two classes as one image: from the first's to the second's around the middle. */
async function faded(model: Model, codes: Float32Array, choices: [Choice, Choice], time: number): Promise<Float32Array> {
  const images = await model.decode(codes, choices);
  const size = images.length / 2;
  const fade = Math.min(1, Math.max(0, (time - 0.4) / 0.2));
  return mix(images.subarray(0, size), images.subarray(size), fade * fade * (3 - 2 * fade));
}

export interface Place {
  z: Float32Array;
  choice: Choice;
}

/** The image on the straight line between the codes of two, each of its class. */
export async function between(model: Model, from: Place, to: Place, time: number): Promise<Float32Array> {
  return faded(model, repeated(mix(from.z, to.z, time), 2), [from.choice, to.choice], time);
}

/** A walk from one class to another at a code: how to make the image at each time from 0 to 1. */
export interface Walk {
  at(time: number): Promise<Float32Array>;
}

/**
 * A class cannot be changed little by little, its code can: the way leads to where both classes
 * look most like the picture between them, changes the class there, and comes back.
 */
export async function walk(model: Model, z: Float32Array, from: Choice, to: Choice): Promise<Walk> {
  let [last, first] = [z, z];
  if (model.has("encoder")) {
    const ends = await model.decode(repeated(z, 2), [from, to]);
    const size = ends.length / 2;
    const between = Float32Array.from({ length: size }, (_, i) => (ends[i]! + ends[size + i]!) / 2);
    const codes = await model.encode(repeated(between, 2), [from, to]);
    [last, first] = [codes.slice(0, z.length), codes.slice(z.length)];
  }
  return {
    async at(time) {
      const along = Math.min(1, 2 * time);
      const back = Math.max(0, 2 * time - 1);
      const codes = new Float32Array(2 * z.length);
      codes.set(mix(z, last, along));
      codes.set(mix(first, z, back), z.length);
      // The two differ a little where they meet: one fades into the other.
      return faded(model, codes, [from, to], time);
    },
  };
}
