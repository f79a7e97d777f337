import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ["**/*.e2e.ts"],
    // One browser at a time: CI has two cores.
    fileParallelism: false,
    // And one for all the files: each test has a profile of its own in it.
    isolate: false,
    testTimeout: 120_000,
    hookTimeout: 60_000,
  },
});
