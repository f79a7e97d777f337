import { expect, it } from "vitest";
import {
  clientThrottle,
  clientThrottleTyped,
  concurrencyLimit,
  concurrencyLimitTyped,
  quota,
  quotaTyped,
  routeConcurrencyLimit,
  routeThrottle,
  samplingRule,
  samplingRuleTyped,
  throttle,
  throttleTyped,
} from "./fields";
import { fieldOf } from "./form";

it("finds the field that a refusal's param names", () => {
  expect(fieldOf("throttle.rateLimit")).toBe("throttle.rateLimit");
  expect(fieldOf("input.variables[0].name")).toBe("variables.0.name");
  expect(fieldOf(null)).toBeUndefined();
});

it("takes an empty throttle for none, and half of one for a mistake", () => {
  const typed = throttleTyped(null);
  expect(throttle.parse({ ...typed, rateLimit: " " })).toBeNull();
  const half = throttle.safeParse({ ...typed, rateLimit: "5" });
  expect(half.error?.issues.map(({ path }) => path.join("."))).toEqual(["burstLimit"]);
  expect(throttle.safeParse({ ...typed, rateLimit: "0", burstLimit: "1.5" }).error?.issues.length).toBe(2);
});

it("needs a header where its value tells clients apart, and drops it where it does not", () => {
  const typed = { ...clientThrottleTyped(null), name: "per-ip", rateLimit: "5", burstLimit: "9" };
  const byIp = {
    name: "per-ip",
    key: "IP" as const,
    headerName: null,
    routeKey: null,
    rateLimit: 5,
    burstLimit: 9,
    enforcement: "HARD" as const,
    mode: null,
    outage: null,
  };
  expect(clientThrottle.parse({ ...typed, headerName: "x-user" })).toEqual(byIp);
  expect(clientThrottle.parse(clientThrottleTyped(byIp))).toEqual(byIp);
  const byHeader = clientThrottle.safeParse({ ...typed, key: "HEADER", headerName: " " });
  expect(byHeader.error?.issues[0]?.path).toEqual(["headerName"]);
});

it("enforces a throttle unless it is told to report only, and keeps what it was told", () => {
  const whole = {
    rateLimit: 0.5,
    burstLimit: 1,
    enforcement: "SHADOW",
    mode: "EXACT",
    outage: "FAIL_CLOSED",
  } as const;
  expect(throttle.parse({ ...throttleTyped(null), rateLimit: "0.5", burstLimit: "1" })).toEqual({
    ...whole,
    enforcement: "HARD",
    mode: null,
    outage: null,
  });
  expect(throttle.parse(throttleTyped(whole))).toEqual(whole);
  const ofRoute = { routeKey: "GET /pets", ...whole };
  expect(routeThrottle.parse({ ...ofRoute, ...throttleTyped(whole) })).toEqual(ofRoute);
});

it("takes an empty limit of requests in progress for none, and keeps what it was told", () => {
  const typed = concurrencyLimitTyped(null);
  expect(concurrencyLimit.parse({ ...typed, maxInFlight: " " })).toBeNull();
  expect(concurrencyLimit.parse({ ...typed, maxInFlight: "7" })).toEqual({
    maxInFlight: 7,
    enforcement: "HARD",
  });
  const shadow = { maxInFlight: 3, enforcement: "SHADOW" } as const;
  expect(concurrencyLimit.parse(concurrencyLimitTyped(shadow))).toEqual(shadow);
  const ofRoute = { routeKey: "GET /pets", ...shadow };
  expect(routeConcurrencyLimit.parse({ ...ofRoute, ...concurrencyLimitTyped(shadow) })).toEqual(ofRoute);
  for (const wrong of ["0", "-1", "1.5", "many"]) {
    const refused = concurrencyLimit.safeParse({ ...typed, maxInFlight: wrong });
    expect(refused.error?.issues.map(({ path }) => path.join("."))).toEqual(["maxInFlight"]);
    const route = routeConcurrencyLimit.safeParse({ ...ofRoute, maxInFlight: wrong });
    expect(route.error?.issues.map(({ path }) => path.join("."))).toEqual(["maxInFlight"]);
  }
});

it("takes an empty limit for no quota, and what is typed of another for what it means", () => {
  const typed = quotaTyped(null);
  expect(quota.parse(typed)).toBeNull();
  const plain = { limit: 1000, period: "WEEK", anchor: "CALENDAR", timeZone: "UTC", startsAt: null } as const;
  const calendar = { ...plain, enforcement: "HARD", initialUsed: 0 } as const;
  expect(quota.parse({ ...typed, limit: "1000", period: "WEEK", startsAt: "2027" })).toEqual(calendar);
  expect(quota.parse(quotaTyped(calendar))).toEqual(calendar);
  const anniversary = {
    ...calendar,
    anchor: "ANNIVERSARY",
    timeZone: "Europe/Berlin",
    startsAt: "2027-01-31T09:30:00.000Z",
    initialUsed: 7,
  } as const;
  expect(quota.parse(quotaTyped(anniversary))).toEqual(anniversary);
});

it("refuses a quota by the field that is wrong", () => {
  const wrong = { limit: "-1", anchor: "ANNIVERSARY", initialUsed: "1.5" } as const;
  const refused = quota.safeParse({ ...quotaTyped(null), ...wrong });
  expect(refused.error?.issues.map(({ path }) => path.join("."))).toEqual([
    "limit",
    "startsAt",
    "initialUsed",
  ]);
});

it("takes a sampling rule as it was typed, and refuses each field by itself", () => {
  const rule = {
    routeKey: "*",
    reservoirPerSecond: 1,
    rate: 0.07,
    keepErrors: true,
    keepSlowerThanMillis: null,
  };
  const typed = samplingRuleTyped(rule);
  expect(typed.percent).toBe("7");
  const { percent, ...rest } = samplingRule.parse(typed);
  expect({ ...rest, rate: percent / 100 }).toEqual(rule);
  expect(samplingRule.parse({ ...typed, keepSlowerThanMillis: "20" }).keepSlowerThanMillis).toBe(20);
  const wrong = { routeKey: " ", reservoirPerSecond: "", percent: "101", keepSlowerThanMillis: "0" };
  const issues = samplingRule.safeParse({ ...typed, ...wrong }).error?.issues ?? [];
  expect(issues.map(({ path }) => path.join("."))).toEqual(Object.keys(wrong));
});
