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

/** Rate and burst as typed; both empty means no throttle. */
export const throttle = z
  .object({ rateLimit: z.string().trim(), burstLimit: z.string().trim() })
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
  .transform(({ rateLimit, burstLimit }) =>
    rateLimit === "" && burstLimit === ""
      ? null
      : { rateLimit: Number(rateLimit), burstLimit: Number(burstLimit) },
  );

/** A limit and its period as typed; no limit means no quota. */
export const quota = z
  .object({ limit: z.string().trim(), period: z.enum(["DAY", "WEEK", "MONTH"]) })
  .superRefine(({ limit }, context) => {
    if (limit !== "" && (!whole(limit) || !positive(limit))) {
      context.addIssue({ code: "custom", path: ["limit"], message: "Enter a whole number, at least 1." });
    }
  })
  .transform(({ limit, period }) => (limit === "" ? null : { limit: Number(limit), period }));

/** A decimal number as text, never through a float: `1.25`. */
export const decimal = z
  .string()
  .trim()
  .regex(/^\d+(\.\d+)?$/, "Enter a number such as 1.25.");

type Limit = { rateLimit: number; burstLimit: number } | null | undefined;
export const throttleTyped = (value: Limit) => ({
  rateLimit: value ? String(value.rateLimit) : "",
  burstLimit: value ? String(value.burstLimit) : "",
});
