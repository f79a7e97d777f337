import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { curlLine, quoted, routesToTry, samplePath, target } from "./curl";

const route = (routeKey: string, apiKeyRequired = true) => {
  const [method = "", path = ""] = routeKey.startsWith("$") ? ["", ""] : routeKey.split(" ");
  return { routeKey, method, path, apiKeyRequired };
};

describe("the curl line", () => {
  it("works as printed", () => {
    const url = "http://abc.execute-api.localhost:9080/prod/hello";
    expect(curlLine({ method: "GET", url, apiKey: "tg_live_x" })).toBe(
      "curl -i -H 'x-api-key: tg_live_x' 'http://abc.execute-api.localhost:9080/prod/hello'",
    );
  });

  it.each([
    ["$request.header.x-key", "curl -i -H 'x-key: k+1' 'http://h/a'"],
    ["$request.header.Authorization", "curl -i -H 'Authorization: Bearer k+1' 'http://h/a'"],
    ["$request.querystring.api_key", "curl -i 'http://h/a?api_key=k%2B1'"],
  ])("puts the key where the API looks for it: %s", (location, line) => {
    expect(curlLine({ method: "GET", url: "http://h/a", apiKey: "k+1", location })).toBe(line);
  });

  it("names the method when it is not GET", () => {
    expect(curlLine({ method: "POST", url: "http://h/", apiKey: "k" })).toContain("curl -i -X POST ");
  });

  it("stands a placeholder where the value can no longer be shown", () => {
    expect(curlLine({ method: "GET", url: "http://h/", apiKey: undefined })).toContain(
      "x-api-key: YOUR_API_KEY",
    );
  });

  it.each(["plain", "it's", '$(touch x) `id` \\ "!"', "a\nb", "'''"])(
    "reaches the shell unchanged: %j",
    (text) => {
      expect(execFileSync("sh", ["-c", `printf %s ${quoted(text)}`]).toString()).toBe(text);
    },
  );
});

describe("the first call", () => {
  it("tries a key-required GET without parameters first", () => {
    const routes = [
      route("GET /open", false),
      route("POST /pets"),
      route("GET /pets/{id}"),
      route("GET /pets"),
    ];
    expect(routesToTry(routes).map(({ routeKey }) => routeKey)).toEqual([
      "GET /pets",
      "GET /pets/{id}",
      "POST /pets",
      "GET /open",
    ]);
  });

  it("fills parameters in", () => {
    expect(samplePath("/pets/{id}/files/{proxy+}")).toBe("/pets/1/files/1");
  });

  it("goes to the stage's URL and the route's path", () => {
    expect(target("http://h/prod", route("GET /pets/{id}"))).toEqual({
      method: "GET",
      url: "http://h/prod/pets/1",
    });
    expect(target("http://h/prod/", route("ANY /x"))).toEqual({ method: "GET", url: "http://h/prod/x" });
    expect(target("http://h/prod", route("$default"))).toEqual({ method: "GET", url: "http://h/prod/" });
  });
});
