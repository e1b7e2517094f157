// One runtime is loaded at a time, and only when it is chosen.

import type { Format } from "../manifest";
import type { Engine } from "./engine";

export async function loadEngine(format: Format): Promise<Engine> {
  if (!hasSimd()) {
    throw new Error(
      "This browser has no WebAssembly SIMD, which both runtimes need. A browser from 2023 or later has it.",
    );
  }
  const { load } = format === "tflite" ? await import("./litert") : await import("./onnx");
  return load();
}

/** Both runtimes are compiled with 128-bit vectors: ask by a module of three instructions. */
function hasSimd(): boolean {
  const module = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];
  return typeof WebAssembly === "object" && WebAssembly.validate(new Uint8Array(module));
}
