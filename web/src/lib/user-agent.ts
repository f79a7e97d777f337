/** The browser and system that a User-Agent names, in words; a program goes by the first word of its own. */
export function browser(userAgent: string): string {
  if (!userAgent.startsWith("Mozilla/")) return userAgent.split(/[\s/(]/)[0] || "Unknown";
  const name = BROWSERS.find(([sign]) => sign.test(userAgent))?.[1] ?? "A browser";
  const system = SYSTEMS.find(([sign]) => sign.test(userAgent))?.[1];
  return system ? `${name} on ${system}` : name;
}

/** In this order: each later one's name also stands in the earlier ones' headers. */
const BROWSERS: readonly [RegExp, string][] = [
  [/Edg(e|A|iOS)?\//, "Edge"],
  [/OPR\//, "Opera"],
  [/(Firefox|FxiOS)\//, "Firefox"],
  [/(Chrome|Chromium|CriOS|HeadlessChrome)\//, "Chrome"],
  [/Safari\//, "Safari"],
];

const SYSTEMS: readonly [RegExp, string][] = [
  [/iPhone|iPad|iOS/, "iOS"],
  [/Android/, "Android"],
  [/Windows/, "Windows"],
  [/Mac OS X|Macintosh/, "macOS"],
  [/CrOS/, "ChromeOS"],
  [/Linux|X11/, "Linux"],
];
