import { expect, it } from "vitest";
import { quota, throttle } from "./fields";
import { fieldOf } from "./form";

it("finds the field that a refusal's param names", () => {
  expect(fieldOf("throttle.rateLimit")).toBe("throttle.rateLimit");
  expect(fieldOf("input.variables[0].name")).toBe("variables.0.name");
  expect(fieldOf(null)).toBeUndefined();
});

it("takes an empty throttle for none, and half of one for a mistake", () => {
  expect(throttle.parse({ rateLimit: " ", burstLimit: "" })).toBeNull();
  expect(throttle.parse({ rateLimit: "0.5", burstLimit: "1" })).toEqual({ rateLimit: 0.5, burstLimit: 1 });
  const half = throttle.safeParse({ rateLimit: "5", burstLimit: "" });
  expect(half.error?.issues.map(({ path }) => path.join("."))).toEqual(["burstLimit"]);
  expect(throttle.safeParse({ rateLimit: "0", burstLimit: "1.5" }).error?.issues.length).toBe(2);
});

it("takes an empty limit for no quota", () => {
  expect(quota.parse({ limit: "", period: "DAY" })).toBeNull();
  expect(quota.parse({ limit: "1000", period: "WEEK" })).toEqual({ limit: 1000, period: "WEEK" });
  expect(quota.safeParse({ limit: "-1", period: "WEEK" }).success).toBe(false);
});
