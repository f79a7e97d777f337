import type { Client } from "graphql-ws";
import { useEffect, useEffectEvent, useState } from "react";
import { session } from "./client";
import type { TypedDocumentString } from "./generated/graphql";
import { asked, isUnknown } from "./persisted";

/** The longest wait between two attempts to connect. */
const WAIT_MAX_MS = 30_000;
/** How long a socket that nobody uses is kept, for the next page. */
const IDLE_MS = 5_000;
/** How often the server is asked whether it is still there, and how long it may take to say so. */
const PING_EVERY_MS = 12_000;
const PONG_MAX_MS = 5_000;
/** How long a first event may take before the page says that it is not live. */
const FIRST_EVENT_MAX_MS = 3_000;
/** The server's word for an access token that has ended; the next attempt brings a new one. */
const UNAUTHORIZED = 4401;

let client: Promise<Client> | undefined;

/** Twice as long each time, and never quite the same, so that many tabs do not come back at once. */
export function waitMs(attempt: number, random: number): number {
  const whole = Math.min(WAIT_MAX_MS, 500 * 2 ** attempt);
  return whole / 2 + (whole / 2) * random;
}

const pause = (attempt: number) =>
  new Promise<void>((resolve) => setTimeout(resolve, waitMs(attempt, Math.random())));

/** One socket for all of the tab, opened by the first who listens. */
function open(): Promise<Client> {
  client ??= import("graphql-ws").then(({ createClient }) => {
    let unanswered: ReturnType<typeof setTimeout> | undefined;
    const socket = createClient({
      url: `${location.origin.replace(/^http/, "ws")}/graphql`,
      connectionParams: async () => ({ accessToken: await session.accessToken() }),
      lazyCloseTimeout: IDLE_MS,
      keepAlive: PING_EVERY_MS,
      retryAttempts: Number.POSITIVE_INFINITY,
      shouldRetry: () => true,
      retryWait: pause,
      on: {
        ping: (received) => {
          // A cable that was pulled says nothing: the socket would wait for hours.
          if (!received) unanswered = setTimeout(() => socket.terminate(), PONG_MAX_MS);
        },
        pong: (received) => {
          if (received) clearTimeout(unanswered);
        },
        closed: () => clearTimeout(unanswered),
      },
    });
    return socket;
  });
  return client;
}

type Listener<R> = { onData: (data: R) => void; onDown: () => void };

/** Listens until the returned function is called; begins anew, after a while, whenever the server ends it. */
function listen<R, V extends Record<string, unknown>>(
  document: TypedDocumentString<R, V>,
  variables: V,
  { onData, onDown }: Listener<R>,
): () => void {
  const ends: (() => void)[] = [];
  let over = false;
  const begin = async (attempt: number) => {
    const socket = await open();
    if (over) return;
    for (const end of ends.splice(0)) end();
    let failures = attempt;
    const payload = asked(document);
    const again = async (error: unknown) => {
      if (over) return;
      onDown();
      if (error instanceof CloseEvent && error.code === UNAUTHORIZED) await session.renew().catch(() => {});
      await pause(failures);
      if (!over) await begin(failures + 1);
    };
    const stop = socket.subscribe<R>(
      // The protocol has no message without a query.
      { query: "", ...payload, variables },
      {
        next: ({ data }) => {
          failures = 0;
          if (data && !over) onData(data);
        },
        error: (error) => {
          const refusal = Array.isArray(error) ? error[0] : undefined;
          void (isUnknown(document, payload, refusal) ? begin(failures) : again(error));
        },
        complete: () => {},
      },
    );
    // The client itself opens a socket that was closed anew; who listens learns of it here only.
    const forget = socket.on("closed", () => !over && onDown());
    ends.push(stop, forget);
  };
  void begin(0);
  return () => {
    over = true;
    for (const end of ends) end();
  };
}

/** Whether events come by themselves. Until they do the page asks from time to time. */
export type Live = "connecting" | "live" | "down";

/** Hands each event to `onData` while the page is shown and `enabled`. */
export function useLive<R, V extends Record<string, unknown>>(
  document: TypedDocumentString<R, V>,
  variables: V,
  onData: (data: R) => void,
  enabled = true,
): Live {
  const [live, setLive] = useState<Live>("connecting");
  const take = useEffectEvent(onData);
  const key = JSON.stringify(variables);
  useEffect(() => {
    if (!enabled) return;
    setLive("connecting");
    const patience = setTimeout(() => setLive("down"), FIRST_EVENT_MAX_MS);
    const stop = listen(document, JSON.parse(key) as V, {
      onData: (data) => {
        clearTimeout(patience);
        setLive("live");
        take(data);
      },
      onDown: () => setLive("down"),
    });
    return () => {
      clearTimeout(patience);
      stop();
    };
  }, [document, key, enabled]);
  return live;
}
