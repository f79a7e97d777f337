/** A command that calls a deployed route with a key, as a POSIX shell takes it. */
export type Call = {
  method: string;
  url: string;
  apiKey: string | undefined;
  /** Where the key stands, as the API says: `$request.header.x-api-key`. */
  location?: string | undefined;
};

/** Stands where a key's value would, once it can no longer be shown. */
export const KEY_PLACEHOLDER = "YOUR_API_KEY";

export function curlLine({ method, url, apiKey, location }: Call): string {
  const parts = ["curl", "-i"];
  if (method !== "GET") parts.push("-X", method);
  const key = apiKey ?? KEY_PLACEHOLDER;
  const parameter = location?.match(/^\$request\.querystring\.(.+)$/)?.[1];
  if (parameter) {
    parts.push(quoted(`${url}${url.includes("?") ? "&" : "?"}${parameter}=${encodeURIComponent(key)}`));
  } else {
    const field = location?.match(/^\$request\.header\.(.+)$/)?.[1] ?? "x-api-key";
    const value = field.toLowerCase() === "authorization" ? `Bearer ${key}` : key;
    parts.push("-H", quoted(`${field}: ${value}`), quoted(url));
  }
  return parts.join(" ");
}

/** In single quotes: the shell reads nothing inside them; a single quote is closed, escaped and opened again. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** A path that the route answers: `/pets/{id}` as `/pets/1`, `/files/{proxy+}` as `/files/1`. */
export function samplePath(path: string): string {
  return path.replace(/\{[^}]*\}/g, "1");
}

type Route = { routeKey: string; method: string; path: string; apiKeyRequired: boolean };

/** The routes of a key's first call, best first: those that ask for the key, GET, without parameters. */
export function routesToTry<R extends Route>(routes: readonly R[]): R[] {
  const rank = (route: Route) =>
    (route.apiKeyRequired ? 0 : 4) +
    (route.method === "GET" || route.method === "ANY" || route.method === "" ? 0 : 2) +
    (route.path.includes("{") ? 1 : 0);
  return [...routes].sort((a, b) => rank(a) - rank(b));
}

/** The method and URL of a call to a route of a stage; `$default` takes any path. */
export function target(
  invokeUrl: string,
  route: Pick<Route, "method" | "path">,
): { method: string; url: string } {
  const method = route.method === "" || route.method === "ANY" ? "GET" : route.method;
  const path = route.path.startsWith("/") ? samplePath(route.path) : "/";
  return { method, url: `${invokeUrl.replace(/\/$/, "")}${path}` };
}
