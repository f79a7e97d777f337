import { beforeEach, expect, it } from "vitest";
import { Session, SignedOut } from "./session";

/** A server that answers when the test says so, and a clock that the test moves. */
class World {
  now = 0;
  calls: { method: string; answer: (response: Response) => void }[] = [];
  ended = 0;
  session = new Session({
    fetch: (_, init) => new Promise((answer) => this.calls.push({ method: init?.method ?? "GET", answer })),
    now: () => this.now,
    exclusively: (work) => work(),
    announceEnd: () => {
      this.ended += 1;
    },
  });

  grant(accessToken: string) {
    const call = this.calls.at(-1);
    call?.answer(Response.json({ accessToken, expiresInSeconds: 600 }));
  }

  refuse(status: number) {
    this.calls.at(-1)?.answer(new Response(null, { status }));
  }
}

let world: World;
beforeEach(() => {
  world = new World();
});

it("asks once however many calls wait for a token", async () => {
  const waiting = [world.session.accessToken(), world.session.accessToken(), world.session.renew()];
  expect(world.calls.length).toBe(1);
  world.grant("one");
  expect(await Promise.all(waiting)).toEqual(["one", "one", "one"]);
});

it("asks again for the next renewal", async () => {
  const first = world.session.renew();
  world.grant("one");
  await first;
  const second = world.session.renew();
  expect(world.calls.length).toBe(2);
  world.grant("two");
  expect(await second).toBe("two");
});

it("keeps a token until half a minute before it ends", async () => {
  world.session.start({ accessToken: "one", expiresInSeconds: 600 });
  world.now = 569_999;
  expect(await world.session.accessToken()).toBe("one");
  expect(world.calls.length).toBe(0);
  world.now = 570_000;
  const renewed = world.session.accessToken();
  world.grant("two");
  expect(await renewed).toBe("two");
});

it("tells that the session has ended when the cookie is refused", async () => {
  world.session.start({ accessToken: "one", expiresInSeconds: 600 });
  let told = 0;
  world.session.onEnd(() => {
    told += 1;
  });
  const renewed = world.session.renew();
  world.refuse(401);
  await expect(renewed).rejects.toBeInstanceOf(SignedOut);
  expect(told).toBe(1);
});

it("keeps the session when the server only fails", async () => {
  world.session.start({ accessToken: "one", expiresInSeconds: 600 });
  const renewed = world.session.renew();
  world.refuse(503);
  await expect(renewed).rejects.not.toBeInstanceOf(SignedOut);
  expect(await world.session.accessToken()).toBe("one");
});

it("ends on the server and in the other tabs at log-out", async () => {
  world.session.start({ accessToken: "one", expiresInSeconds: 600 });
  const end = world.session.end();
  expect(world.calls.map(({ method }) => method)).toEqual(["DELETE"]);
  world.refuse(204);
  await end;
  expect(world.ended).toBe(1);
  const next = world.session.accessToken();
  world.refuse(401);
  await expect(next).rejects.toBeInstanceOf(SignedOut);
});

it("stays logged in when the server could not end the session", async () => {
  world.session.start({ accessToken: "one", expiresInSeconds: 600 });
  const end = world.session.end();
  world.refuse(503);
  await expect(end).rejects.toThrow("503");
  expect(world.ended).toBe(0);
  expect(await world.session.accessToken()).toBe("one");
});
