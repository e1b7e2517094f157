// When images were seen: in the frame after they were painted.

let first = false;

/** Mark the first image of this visit. */
export function markFirstImage(): void {
  if (first) return;
  first = true;
  requestAnimationFrame(() => performance.mark("first image"));
}

/** Measure from the end of a drawing, if there was one before these images were begun. */
export function measureDrawing(begun: number): void {
  const finished = performance.getEntriesByName("drawing finished").at(-1)?.startTime;
  if (finished === undefined || finished > begun) return;
  requestAnimationFrame(() => {
    performance.measure("drawing to images", { start: finished, end: performance.now() });
    performance.clearMarks("drawing finished");
  });
}
