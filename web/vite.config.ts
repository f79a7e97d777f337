import { readFileSync } from "node:fs";
import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

const controlPlane = process.env.TOLLGATE_URL ?? "http://127.0.0.1:8080";

/** The documents that the console names by their hashes, for the control plane to compile in with its files. */
const persistedDocuments: Plugin = {
  name: "persisted-documents",
  generateBundle() {
    const fileName = "persisted-documents.json";
    this.emitFile({ type: "asset", fileName, source: readFileSync(`src/api/generated/${fileName}`) });
  },
};

export default defineConfig({
  plugins: [react(), tailwindcss(), persistedDocuments],
  build: {
    // The Content-Security-Policy refuses data: fonts, so no asset is inlined.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 600,
  },
  server: { proxy: { "/graphql": controlPlane, "/v1": controlPlane } },
  test: { include: ["src/**/*.test.ts"] },
});
