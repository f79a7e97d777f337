import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const controlPlane = process.env.TOLLGATE_URL ?? "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [react(), tailwindcss()],
  build: {
    // The Content-Security-Policy refuses data: fonts, so no asset is inlined.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 600,
  },
  server: { proxy: { "/graphql": controlPlane, "/v1": controlPlane } },
  test: { include: ["src/**/*.test.ts"] },
});
