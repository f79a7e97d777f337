/** The console asks for its documents by their hashes, and sends them whole where the server is of another release. */
import { createHash } from "node:crypto";
import { expect, test, url, type Visit, workingApi } from "./console";

type Sent = {
  operationName?: string;
  query?: string;
  extensions?: { persistedQuery: { version: number; sha256Hash: string } };
};

const graphql = `${url}/graphql`;
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

/** The documents that came with the console. */
const documents = () => fetch(`${url}/persisted-documents.json`).then((answer) => answer.json());

/** From a page that listens to one that asks, to one that changes something, and back to what that one asked. */
async function worksThrough(visit: Visit, listening: () => Promise<void>) {
  const { api } = await workingApi(visit, await visit.account());
  await visit.go(`/apis/${encodeURIComponent(api.id)}`);
  await visit.page.getByRole("navigation", { name: "Pages of this API" }).getByText("Requests").click();
  await visit.sees("Waiting for a request");
  await listening();
  await visit.page.getByRole("main").getByText("Live", { exact: true }).last().waitFor();
  const plans = visit.page
    .getByRole("navigation", { name: "Main" })
    .getByRole("link", { name: "Usage plans" });
  await plans.click();
  await visit.page.getByRole("link", { name: "Create usage plan" }).click();
  await visit.fill("Name", "Gold");
  await visit.click("Create usage plan");
  await visit.heading("Gold").waitFor();
  await plans.click();
  await visit.page.getByRole("link", { name: "Gold" }).waitFor();
  await visit.loaded();
}

const names = (sent: Sent[]) => sent.map(({ operationName }) => operationName);

test("nothing that the console sends holds a document", async ({ visit }) => {
  const called: Sent[] = [];
  const subscribed: Sent[] = [];
  visit.page.on("request", (request) => {
    if (request.url() === graphql) called.push(request.postDataJSON());
  });
  visit.page.on("websocket", (socket) =>
    socket.on("framesent", ({ payload }) => {
      const said = JSON.parse(String(payload));
      if (said.type === "subscribe") subscribed.push(said.payload);
    }),
  );
  await worksThrough(visit, () => expect.poll(() => names(subscribed)).toContain("RequestsLive"));

  const known: Record<string, string> = await documents();
  for (const [hash, text] of Object.entries(known)) expect(sha256(text)).toBe(hash);
  expect(names(called)).toEqual(expect.arrayContaining(["Viewer", "UsagePlans", "CreateUsagePlan"]));
  for (const { query, operationName, extensions } of [...called, ...subscribed]) {
    // graphql-ws's client has to send one.
    expect(query ?? "").toBe("");
    expect(known[extensions?.persistedQuery.sha256Hash ?? ""]).toContain(` ${operationName}`);
  }
});

/** What a server of another release makes of the hash. */
const releases = {
  "another release, which does not know the hash": {
    sees: (sent: Sent) => ({
      ...sent,
      ...(sent.extensions && { extensions: { persistedQuery: { version: 1, sha256Hash: sha256("") } } }),
    }),
    code: "PERSISTED_QUERY_NOT_FOUND",
  },
  "the releases before there were hashes, which pass over them": {
    sees: ({ extensions, ...sent }: Sent) => sent,
    code: "bad_request",
  },
};

test.for(Object.entries(releases))(
  "a document is sent whole to %s, and so from then on",
  async ([, { sees, code }], { visit }) => {
    const called: Sent[] = [];
    const subscribed: Sent[] = [];
    const refused = new Set<string>();
    await visit.page.route(graphql, async (route) => {
      const sent: Sent = route.request().postDataJSON();
      called.push(sent);
      const response = await route.fetch({ postData: JSON.stringify(sees(sent)) });
      if (sent.extensions) refused.add((await response.json()).errors[0].extensions.code);
      await route.fulfill({ response });
    });
    await visit.page.routeWebSocket(/graphql/, (socket) => {
      const server = socket.connectToServer();
      socket.onMessage((message) => {
        const said = JSON.parse(String(message));
        if (said.type !== "subscribe") return server.send(message);
        subscribed.push(said.payload);
        server.send(JSON.stringify({ ...said, payload: sees(said.payload) }));
      });
    });
    const ways = (sent: Sent[], name: string) =>
      sent
        .filter(({ operationName }) => operationName === name)
        .map(({ query, extensions }) => (extensions ? "hash" : query?.includes(name) ? "text" : "nothing"));
    await worksThrough(visit, () =>
      expect.poll(() => ways(subscribed, "RequestsLive")).toEqual(["hash", "text"]),
    );

    expect([...refused]).toEqual([code]);
    expect(ways(called, "CreateUsagePlan")).toEqual(["hash", "text"]);
    const [first, ...then] = ways(called, "UsagePlans");
    expect(first).toBe("hash");
    expect(then.length).toBeGreaterThan(1);
    expect(new Set(then)).toEqual(new Set(["text"]));
  },
);
