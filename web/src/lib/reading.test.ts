import { expect, it } from "vitest";
import { fileName, progressOf, readWhole } from "./reading";

it("tells how far it is by the time of the last whole line, in CSV and in NDJSON", () => {
  const csv = progressOf("2026-11-01T00:00:00Z", "2026-11-11T00:00:00Z");
  expect(csv("start,requests\r\n2026-11-0")).toEqual({ lines: 1, part: 0 });
  expect(csv("6T00:00:00Z,3\r\n2026-11-10T00:00:00Z,1")).toEqual({ lines: 2, part: 0.5 });
  expect(csv("\r\n")).toEqual({ lines: 3, part: 0.9 });
  const ndjson = progressOf("2026-11-01T00:00:00Z", "2026-11-11T00:00:00Z");
  expect(ndjson('{"start":"2026-11-03T00:00:00Z","requests":3}\n')).toEqual({ lines: 1, part: 0.2 });
});

it("reads every piece and keeps it, also where a letter is cut in two", async () => {
  const bytes = new TextEncoder().encode("start,route\r\n2026-11-06T00:00:00Z,GET /é\r\n");
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      for (let at = 0; at < bytes.length; at += 7) controller.enqueue(bytes.slice(at, at + 7));
      controller.close();
    },
  });
  const told: number[] = [];
  const parts = await readWhole(body, progressOf("2026-11-01T00:00:00Z", "2026-11-11T00:00:00Z"), (it) =>
    told.push(it.lines),
  );
  expect(await new Blob(parts).text()).toBe("start,route\r\n2026-11-06T00:00:00Z,GET /é\r\n");
  expect(told.at(-1)).toBe(2);
});

it("takes the file's name from the answer and no path", () => {
  expect(fileName('attachment; filename="tollgate-usage.csv"', "x")).toBe("tollgate-usage.csv");
  expect(fileName('attachment; filename="../../x"', "usage.csv")).toBe("usage.csv");
  expect(fileName(null, "usage.csv")).toBe("usage.csv");
});
