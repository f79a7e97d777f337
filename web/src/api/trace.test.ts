import { expect, test } from "vitest";
import { beginTracesAt, noteTraced, traceHeaders } from "./trace";

const parts = () => (traceHeaders().traceparent ?? "").split("-");

test("requests of one click share a trace, and the next click begins another", () => {
  const page = new EventTarget();
  beginTracesAt(page);
  const [version, first, span, flags] = parts();
  expect([version, flags]).toEqual(["00", "00"]);
  expect(first).toMatch(/^[0-9a-f]{32}$/);
  expect(span).toMatch(/^[0-9a-f]{16}$/);
  const again = parts();
  expect(again[1]).toBe(first);
  expect(again[2]).not.toBe(span);
  page.dispatchEvent(new Event("click"));
  expect(parts()[1]).not.toBe(first);
  expect(traceHeaders().tracestate).toBe("tollgate=undecided");
});

test("a server that does not trace is sent no trace, until it does", () => {
  noteTraced(new Headers());
  expect(traceHeaders()).toEqual({});
  noteTraced(new Headers({ traceresponse: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00" }));
  expect(traceHeaders()).toHaveProperty("traceparent");
});
