import { mergeConfig } from "vitest/config";
import base from "../vitest.config";

/** Against an installation that sends letters, where nobody signs up without one. */
export default mergeConfig(base, { test: { root: import.meta.dirname, include: ["*.letters.ts"] } });
