/**
 * Who is logged in, in this tab. The access token lives in memory only; the refresh cookie, which scripts
 * cannot read, gets a new one from `POST /v1/session`.
 */
export type Grant = { accessToken: string; expiresInSeconds: number };

/** No session, or one that has ended: the person has to log in. */
export class SignedOut extends Error {
  constructor() {
    super("Your session has ended. Log in again.");
    this.name = "SignedOut";
  }
}

/** The token is renewed this long before it ends, so that no call is under way when it does. */
const RENEW_BEFORE_MS = 30_000;

type Environment = {
  fetch: typeof fetch;
  now: () => number;
  /** Runs one holder at a time over all tabs: two tabs must not rotate the cookie at once. */
  exclusively: <T>(work: () => Promise<T>) => Promise<T>;
  /** Tells the other tabs that the session has ended. */
  announceEnd: () => void;
};

export class Session {
  private token: string | undefined;
  private endsAt = 0;
  private renewal: Promise<string> | undefined;
  private readonly endListeners = new Set<() => void>();

  constructor(private readonly env: Environment) {}

  /** Takes the token that sign-up, log-in or the operator link answered with. */
  start(grant: Grant) {
    this.token = grant.accessToken;
    this.endsAt = this.env.now() + grant.expiresInSeconds * 1000;
  }

  /** A token that is good for the next half minute. @throws SignedOut */
  async accessToken(): Promise<string> {
    if (this.token && this.env.now() < this.endsAt - RENEW_BEFORE_MS) return this.token;
    return this.renew();
  }

  /** Gets a new token; callers that come meanwhile share the answer. @throws SignedOut */
  renew(): Promise<string> {
    this.renewal ??= this.env
      .exclusively(() => this.refresh())
      .finally(() => {
        this.renewal = undefined;
      });
    return this.renewal;
  }

  /** Moves this session to another tenant of the same person, by its name. @throws SignedOut */
  async moveTo(tenant: string) {
    await this.env.exclusively(() => this.refresh(tenant));
  }

  private async refresh(tenant?: string): Promise<string> {
    const response = await this.env.fetch("/v1/session", {
      method: "POST",
      credentials: "same-origin",
      ...(tenant === undefined
        ? {}
        : { headers: { "content-type": "application/json" }, body: JSON.stringify({ tenant }) }),
    });
    // A body that nobody reads keeps the connection.
    if (!response.ok) await response.body?.cancel();
    if (response.status === 401 || response.status === 403) {
      this.forget();
      throw new SignedOut();
    }
    if (!response.ok) throw new Error(`The session could not be renewed (status ${response.status}).`);
    const grant = (await response.json()) as Grant;
    this.start(grant);
    return grant.accessToken;
  }

  /** Ends the session here, on the server and in the other tabs. */
  async end() {
    await this.env.exclusively(async () => {
      const response = await this.env.fetch("/v1/session", { method: "DELETE", credentials: "same-origin" });
      // 401: it had ended already.
      if (!response.ok && response.status !== 401) {
        throw new Error(`The session could not be ended (status ${response.status}).`);
      }
    });
    this.forget();
    this.env.announceEnd();
  }

  /** Drops the token and tells who listens, without asking the server. */
  forget() {
    const was = this.token;
    this.token = undefined;
    this.endsAt = 0;
    if (was) for (const listener of this.endListeners) listener();
  }

  onEnd(listener: () => void): () => void {
    this.endListeners.add(listener);
    return () => this.endListeners.delete(listener);
  }
}

/** The session of this tab, tied to those of the other tabs. */
export function browserSession(): Session {
  const channel = "BroadcastChannel" in globalThis ? new BroadcastChannel("tollgate_session") : undefined;
  const session = new Session({
    fetch: (input, init) => fetch(input, init),
    now: () => Date.now(),
    // Absent on plain http beyond loopback; there the server's patience with two tabs has to do.
    exclusively: (work) =>
      navigator.locks ? navigator.locks.request("tollgate_session", () => work()) : work(),
    announceEnd: () => channel?.postMessage("end"),
  });
  channel?.addEventListener("message", () => session.forget());
  return session;
}
