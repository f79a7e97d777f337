import { z } from "zod";

/** Pieces of several forms' schemas. Limits that only the server knows are the server's to refuse. */

export const requiredText = (message: string) => z.string().trim().min(1, message);

export const email = z
  .string()
  .trim()
  .min(1, "Enter your email address.")
  .regex(/^[^\s@]+@[^\s@]+$/, "This is not an email address.");

/** The server's rule, DESIGN.md §4. */
export const PASSWORD_LENGTH_MIN = 15;
export const newPassword = z
  .string()
  .min(
    PASSWORD_LENGTH_MIN,
    `A password needs at least ${PASSWORD_LENGTH_MIN} characters. A few words make a good one.`,
  );

const positive = (text: string) => Number.isFinite(Number(text)) && Number(text) > 0;
const whole = (text: string) => /^\d+$/.test(text);

/** A whole number as typed; nothing means 0. */
export const wholeNumber = z
  .string()
  .trim()
  .refine((text) => text === "" || whole(text), "Enter a whole number, or nothing.")
  .transform(Number);

/** From 0 to 100, with decimals. */
export const percentTraffic = z
  .string()
  .trim()
  .refine(
    (text) => text !== "" && Number(text) >= 0 && Number(text) <= 100,
    "Enter a percentage from 0 to 100.",
  )
  .transform(Number);

const throttleEnforcement = z.enum(["HARD", "SHADOW"]);
/** How a throttle is counted and what holds in an outage; nothing means as each node is set. */
const throttleWays = {
  mode: z.enum(["", "LEASED", "EXACT", "LOCAL"]).transform((mode) => mode || null),
  outage: z.enum(["", "LOCAL_FALLBACK", "FAIL_OPEN", "FAIL_CLOSED"]).transform((outage) => outage || null),
};

/** Rate and burst as typed; both empty means no throttle. */
export const throttle = z
  .object({
    rateLimit: z.string().trim(),
    burstLimit: z.string().trim(),
    enforcement: throttleEnforcement,
    ...throttleWays,
  })
  .superRefine(({ rateLimit, burstLimit }, context) => {
    if (rateLimit === "" && burstLimit === "") return;
    if (!positive(rateLimit)) {
      context.addIssue({
        code: "custom",
        path: ["rateLimit"],
        message: "Enter requests a second, more than 0.",
      });
    }
    if (!whole(burstLimit) || !positive(burstLimit)) {
      context.addIssue({
        code: "custom",
        path: ["burstLimit"],
        message: "Enter a whole number, at least 1.",
      });
    }
  })
  .transform(({ rateLimit, burstLimit, ...rest }) =>
    rateLimit === "" && burstLimit === ""
      ? null
      : { rateLimit: Number(rateLimit), burstLimit: Number(burstLimit), ...rest },
  );

/** How often a route may be called, as typed. */
export const routeThrottle = z.object({
  routeKey: requiredText("Enter a route such as GET /pets."),
  rateLimit: z.string().trim().refine(positive, "Enter requests a second, more than 0.").transform(Number),
  burstLimit: z
    .string()
    .trim()
    .refine((text) => whole(text) && positive(text), "Enter a whole number, at least 1.")
    .transform(Number),
  enforcement: throttleEnforcement,
  ...throttleWays,
});

const inFlight = "Enter a whole number, at least 1.";

/** Requests in progress as typed; empty means no limit. */
export const concurrencyLimit = z
  .object({ maxInFlight: z.string().trim(), enforcement: throttleEnforcement })
  .refine(({ maxInFlight: text }) => text === "" || (whole(text) && positive(text)), {
    path: ["maxInFlight"],
    message: inFlight,
  })
  .transform(({ maxInFlight, enforcement }) =>
    maxInFlight === "" ? null : { maxInFlight: Number(maxInFlight), enforcement },
  );

/** How many requests of a route may be in progress, as typed. */
export const routeConcurrencyLimit = z.object({
  routeKey: requiredText("Enter a route such as GET /pets."),
  maxInFlight: z
    .string()
    .trim()
    .refine((text) => whole(text) && positive(text), inFlight)
    .transform(Number),
  enforcement: throttleEnforcement,
});

/** How often each client may call, as typed; no route means every call. */
export const clientThrottle = z
  .object({
    ...routeThrottle.shape,
    name: requiredText("Enter a name such as per-ip."),
    key: z.enum(["IP", "HEADER"]),
    headerName: z.string().trim(),
    routeKey: z.string().trim(),
  })
  .superRefine(({ key, headerName }, context) => {
    if (key === "HEADER" && headerName === "")
      context.addIssue({ code: "custom", path: ["headerName"], message: "Enter a header such as x-user." });
  })
  .transform(({ headerName, routeKey, ...rest }) => ({
    ...rest,
    headerName: rest.key === "HEADER" ? headerName : null,
    routeKey: routeKey || null,
  }));

/** A quota as typed; no limit means none. What begins a period with the calendar has no start. */
export const quota = z
  .object({
    limit: z.string().trim(),
    period: z.enum(["DAY", "WEEK", "MONTH"]),
    anchor: z.enum(["CALENDAR", "ANNIVERSARY"]),
    timeZone: z.string().trim(),
    startsAt: z.string(),
    enforcement: z.enum(["HARD", "SOFT"]),
    initialUsed: z.string().trim(),
  })
  .superRefine(({ limit, anchor, startsAt, initialUsed }, context) => {
    if (limit === "") return;
    const wrong = (path: string, message: string) =>
      context.addIssue({ code: "custom", path: [path], message });
    if (!whole(limit) || !positive(limit)) wrong("limit", "Enter a whole number, at least 1.");
    if (anchor === "ANNIVERSARY" && Number.isNaN(Date.parse(`${startsAt}Z`)))
      wrong("startsAt", "Say when a period begins.");
    if (initialUsed !== "" && !whole(initialUsed)) wrong("initialUsed", "Enter a whole number, or nothing.");
  })
  .transform(({ limit, period, anchor, timeZone, startsAt, enforcement, initialUsed }) =>
    limit === ""
      ? null
      : {
          limit: Number(limit),
          period,
          anchor,
          timeZone: timeZone || "UTC",
          startsAt: anchor === "ANNIVERSARY" ? new Date(`${startsAt}Z`).toISOString() : null,
          enforcement,
          initialUsed: Number(initialUsed),
        },
  );

type Quota = {
  limit: number;
  period: "DAY" | "WEEK" | "MONTH";
  anchor: "CALENDAR" | "ANNIVERSARY";
  timeZone: string;
  startsAt?: string | null;
  enforcement: "HARD" | "SOFT";
  initialUsed: number;
};
export const quotaTyped = (value: Quota | null | undefined): z.input<typeof quota> => ({
  limit: value ? String(value.limit) : "",
  period: value?.period ?? "MONTH",
  anchor: value?.anchor ?? "CALENDAR",
  timeZone: value?.timeZone ?? "UTC",
  startsAt: value?.startsAt?.slice(0, 19) ?? "",
  enforcement: value?.enforcement ?? "HARD",
  initialUsed: value?.initialUsed ? String(value.initialUsed) : "",
});

/** A sampling rule as typed; no bound on how long a call takes means that none is kept for it. */
export const samplingRule = z.object({
  routeKey: requiredText("Enter a route such as GET /pets, or *."),
  reservoirPerSecond: z.string().trim().refine(whole, "Enter a whole number, at least 0.").transform(Number),
  percent: z
    .string()
    .trim()
    .refine(
      (text) => text !== "" && Number(text) >= 0 && Number(text) <= 100,
      "Enter a number from 0 to 100.",
    )
    .transform(Number),
  keepErrors: z.boolean(),
  keepSlowerThanMillis: z
    .string()
    .trim()
    .refine(
      (text) => text === "" || (whole(text) && positive(text)),
      "Enter a whole number, at least 1, or nothing.",
    )
    .transform((text) => (text === "" ? null : Number(text))),
});

type SamplingRule = {
  routeKey: string;
  reservoirPerSecond: number;
  rate: number;
  keepErrors: boolean;
  keepSlowerThanMillis?: number | null;
};
export const samplingRuleTyped = ({ rate, ...rule }: SamplingRule) => ({
  routeKey: rule.routeKey,
  reservoirPerSecond: String(rule.reservoirPerSecond),
  // 0.07 * 100 is 7.000000000000001.
  percent: String(Number((rate * 100).toPrecision(12))),
  keepErrors: rule.keepErrors,
  keepSlowerThanMillis: String(rule.keepSlowerThanMillis ?? ""),
});

/** Entries as typed, one a line. */
export const lines = z.string().transform((text) => text.split(/[\s,]+/).filter((entry) => entry !== ""));
export const linesTyped = (entries: readonly string[]) => entries.join("\n");

/** A decimal number as text, never through a float: `1.25`. */
export const decimal = z
  .string()
  .trim()
  .regex(/^\d+(\.\d+)?$/, "Enter a number such as 1.25.");

export type Throttle = {
  rateLimit: number;
  burstLimit: number;
  enforcement: z.infer<typeof throttleEnforcement>;
  mode?: z.output<typeof throttleWays.mode>;
  outage?: z.output<typeof throttleWays.outage>;
};
export type ConcurrencyLimit = {
  maxInFlight: number;
  enforcement: z.infer<typeof throttleEnforcement>;
};
export const concurrencyLimitTyped = (value: ConcurrencyLimit | null | undefined) => ({
  maxInFlight: value ? String(value.maxInFlight) : "",
  enforcement: value?.enforcement ?? "HARD",
});

export const throttleTyped = (value: Throttle | null | undefined) => ({
  rateLimit: value ? String(value.rateLimit) : "",
  burstLimit: value ? String(value.burstLimit) : "",
  enforcement: value?.enforcement ?? "HARD",
  mode: value?.mode ?? ("" as const),
  outage: value?.outage ?? ("" as const),
});

type ClientThrottle = Throttle & {
  name: string;
  key: "IP" | "HEADER";
  headerName?: string | null;
  routeKey?: string | null;
};
export const clientThrottleTyped = (value: ClientThrottle | null) => ({
  ...throttleTyped(value),
  name: value?.name ?? "",
  key: value?.key ?? ("IP" as const),
  headerName: value?.headerName ?? "",
  routeKey: value?.routeKey ?? "",
});
