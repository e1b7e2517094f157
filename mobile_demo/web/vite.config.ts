import path from "node:path";
import { defineConfig } from "vitest/config";

import { icons } from "./tools/icons";
import { models } from "./tools/models";
import { serviceWorker } from "./tools/service_worker";

export default defineConfig({
  // Relative, so that the page works from any folder of a server.
  base: "./",
  plugins: [models(path.resolve(process.env.MODELS ?? "../models")), icons(), serviceWorker()],
  build: {
    target: "es2022",
    outDir: process.env.OUT ?? "dist",
    emptyOutDir: process.env.OUT === undefined, // another folder may hold what is not ours
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1000,
    rollupOptions: {
      output: { chunkFileNames: "assets/[name]-[hash].js", entryFileNames: "assets/[name]-[hash].js" },
    },
  },
  test: { include: ["tests/unit/**/*.test.ts"] },
});
