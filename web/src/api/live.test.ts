import { expect, it, vi } from "vitest";

vi.mock("./client", () => ({ session: {} }));
const { waitMs } = await import("./live");

it("waits longer each time, up to half a minute, and never the same", () => {
  expect(waitMs(0, 0)).toBe(250);
  expect(waitMs(0, 1)).toBe(500);
  expect(waitMs(3, 1)).toBe(4000);
  expect(waitMs(40, 1)).toBe(30_000);
  expect(waitMs(40, 0)).toBe(15_000);
});
