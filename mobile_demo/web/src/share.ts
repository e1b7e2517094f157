// What is kept or sent: the images of a view on one sheet of the page's paper, files, and links.

import type { Painter } from "./ink";
import type { Stage } from "./stage";

const GAP = 8;

/** Images side by side, as a PNG file. */
async function sheet(painter: Painter, images: Float32Array, columns: number): Promise<Blob> {
  const count = images.length / painter.pixels;
  const across = Math.min(columns, count);
  const down = Math.ceil(count / across);
  const canvas = document.createElement("canvas");
  canvas.width = across * (painter.width + GAP) + GAP;
  canvas.height = down * (painter.height + GAP) + GAP;
  const context = canvas.getContext("2d")!;
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--card");
  context.fillRect(0, 0, canvas.width, canvas.height);
  for (let i = 0; i < count; i++) {
    const place = [GAP + (i % across) * (painter.width + GAP), GAP + Math.floor(i / across) * (painter.height + GAP)] as const;
    // By way of a bitmap, for ink lies on the paper, and putImageData would cut a hole in it.
    const tile = await createImageBitmap(painter.render(images, i));
    context.drawImage(tile, ...place);
    tile.close();
  }
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The picture could not be made."))), "image/png");
  });
}

/** Hand a file to the phone's share sheet, or save it where there is none. */
export async function shareOrSave(blob: Blob, name: string): Promise<"shared" | "saved" | "cancelled"> {
  const file = new File([blob], name, { type: blob.type });
  if (matchMedia("(pointer: coarse)").matches && navigator.canShare?.({ files: [file] })) {
    try {
      await navigator.share({ files: [file] });
      return "shared";
    } catch (err) {
      if (err instanceof DOMException && err.name === "AbortError") return "cancelled";
    }
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  return "saved";
}

/** Share or save images side by side, and say so. */
export async function saveSheet(stage: Stage, images: Float32Array, columns: number, name: string): Promise<void> {
  try {
    const outcome = await shareOrSave(await sheet(stage.running!.painter, images, columns), name);
    if (outcome === "saved") stage.notice(`Saved as ${name}.`);
  } catch (err) {
    stage.fail(err);
  }
}

/** Copy the link in the address, and say what it does. */
export async function copyLink(stage: Stage, does: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(location.href);
    stage.notice(`The link is copied: it ${does}.`);
  } catch {
    stage.notice("The link is in the address bar: copy it from there.");
  }
}
