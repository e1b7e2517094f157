// Pictures of a person's own: taken, chosen, pasted or dropped, and made like those of the training set.

import { shownName } from "./conditions";
import { el } from "./dom";
import { isInk } from "./ink";
import type { Manifest } from "./manifest";
import { boxOf, centre, greyOf, luminance, whole } from "./preprocess";

const LARGEST_PICTURE = 40 * 2 ** 20;
const PICTURE_SIDE = 192;
/** Of classes that are named as examples of what to take. */
const MOST_NAMED = 6;

/** A file input that a button opens; on phones it offers the camera. */
export function pictureInput(label: string, onFile: (file: File) => void): HTMLInputElement {
  const input = el("input", { type: "file", accept: "image/*", class: "hidden", tabindex: "-1", "aria-label": label });
  input.addEventListener("change", () => {
    const file = input.files?.[0];
    if (file) onFile(file);
    input.value = "";
  });
  return input;
}

/** Let pictures be dropped on an element. */
export function takeDrops(element: HTMLElement, onFile: (file: File) => void): void {
  element.addEventListener("dragover", (event) => {
    event.preventDefault();
    element.classList.add("over");
  });
  element.addEventListener("dragleave", () => element.classList.remove("over"));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    element.classList.remove("over");
    const file = event.dataTransfer?.files[0];
    if (file) onFile(file);
  });
}

/** What a model wants to be shown. */
export function wanted(names: string[] | undefined): string {
  if (!names || names.length < 2) return "one like those that the model was trained on";
  const shown = names.slice(0, MOST_NAMED).map(shownName);
  return `${shown.join(", ")}${names.length > MOST_NAMED ? ` or one of ${names.length - MOST_NAMED} more` : ""}`;
}

/** Read a picture as an image of the training set's kind; or say in one line why it cannot be. */
export async function readPicture(file: File, manifest: Manifest): Promise<Float32Array> {
  try {
    if (file.size > LARGEST_PICTURE) throw new Error("too large");
    const bitmap = await createImageBitmap(file);
    const image = imageOf(bitmap, manifest);
    bitmap.close();
    return image;
  } catch {
    throw new Error(`“${file.name.slice(0, 60)}” cannot be read as a picture. Pick a PNG, JPEG or WebP image.`);
  }
}

/** A picture as an image of the training set's kind: its middle, in grey or in colour. */
function imageOf(bitmap: ImageBitmap, manifest: Manifest): Float32Array {
  const { height, width, channels, dataRange, data } = manifest;
  const isGrey = channels === 1;
  const [rows, columns] = isGrey ? [PICTURE_SIDE, PICTURE_SIDE] : [height, width];
  const canvas = new OffscreenCanvas(columns, rows);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  if (!isGrey) {
    // What is transparent lies on white, as the training set's pictures do.
    context.fillStyle = "#fff";
    context.fillRect(0, 0, columns, rows);
  }
  context.imageSmoothingQuality = "high";
  const scale = Math.max(columns / bitmap.width, rows / bitmap.height);
  const size = [bitmap.width * scale, bitmap.height * scale] as const;
  context.drawImage(bitmap, (columns - size[0]) / 2, (rows - size[1]) / 2, ...size);
  const { data: rgba } = context.getImageData(0, 0, columns, rows);
  const [low, high] = dataRange;
  if (isGrey) {
    const made = isInk(manifest)
      ? centre(greyOf(rgba, rows, columns), height, width, boxOf(data, height, width))
      : whole(luminance(rgba, rows, columns), height, width);
    return Float32Array.from(made, (value) => low + (high - low) * value);
  }
  return Float32Array.from({ length: height * width * 3 }, (_, i) => low + ((high - low) * rgba[4 * Math.floor(i / 3) + (i % 3)]!) / 255);
}
