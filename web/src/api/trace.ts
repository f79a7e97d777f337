/** Everything that the console asks for because of one click is one trace (W3C Trace Context). */
let trace = hex(16);

/** Whether the server takes part. Until it has answered once, it may. */
let traced = true;

/** From now on each of a person's acts that reaches `page` begins a trace. */
export function beginTracesAt(page: EventTarget) {
  for (const act of ["click", "submit", "popstate"]) {
    page.addEventListener(act, () => (trace = hex(16)), { capture: true });
  }
}

/** The head fields of one request; none where nobody traces. Whether its trace is kept is left to the server. */
export function traceHeaders(): Record<string, string> {
  return traced ? { traceparent: `00-${trace}-${hex(8)}-00`, tracestate: "tollgate=undecided" } : {};
}

/** A server that traces says so in each answer. */
export function noteTraced(answer: Headers) {
  traced = answer.has("traceresponse");
}

/** So many random bytes. */
function hex(bytes: number): string {
  const random = crypto.getRandomValues(new Uint8Array(bytes));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
