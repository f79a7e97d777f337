/** Everything that the console asks for because of one click is one trace (W3C Trace Context). */
let trace = hex(16);

/** From now on each of a person's acts that reaches `page` begins a trace. */
export function beginTracesAt(page: EventTarget) {
  for (const act of ["click", "submit", "popstate"]) {
    page.addEventListener(act, () => (trace = hex(16)), { capture: true });
  }
}

/** The head fields of one request. Whether its trace is kept is left to the server. */
export function traceHeaders() {
  return { traceparent: `00-${trace}-${hex(8)}-00`, tracestate: "tollgate=undecided" };
}

/** So many random bytes. */
function hex(bytes: number): string {
  const random = crypto.getRandomValues(new Uint8Array(bytes));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
