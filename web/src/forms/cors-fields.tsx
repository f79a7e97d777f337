import type { FieldError, UseFormRegisterReturn } from "react-hook-form";
import { z } from "zod";
import { SwitchField, TextArea, TextField } from "../ui/field";
import { lines, linesTyped } from "./fields";

/** Which pages may read answers, as typed: of an API and of a route. */
export const cors = z.object({
  allowOrigins: lines,
  allowMethods: lines,
  allowHeaders: lines,
  exposeHeaders: lines,
  allowCredentials: z.boolean(),
  maxAge: z
    .string()
    .trim()
    .regex(/^(-1|\d*)$/, "Enter seconds, -1, or nothing.")
    .transform((text) => (text === "" ? null : Number(text))),
});

type Cors = {
  allowOrigins: readonly string[];
  allowMethods: readonly string[];
  allowHeaders: readonly string[];
  exposeHeaders: readonly string[];
  allowCredentials: boolean;
  maxAge?: number | null;
};

export const corsTyped = (given: Cors | null | undefined): z.input<typeof cors> => ({
  allowOrigins: linesTyped(given?.allowOrigins ?? []),
  allowMethods: linesTyped(given?.allowMethods ?? []),
  allowHeaders: linesTyped(given?.allowHeaders ?? []),
  exposeHeaders: linesTyped(given?.exposeHeaders ?? []),
  allowCredentials: given?.allowCredentials ?? false,
  maxAge: given?.maxAge == null ? "" : String(given.maxAge),
});

type Field = keyof z.input<typeof cors>;
type Props = {
  register: (field: Field) => UseFormRegisterReturn;
  wrong: { [field in Field]?: FieldError } | undefined;
};

/** The fields of any form that says which pages may read answers. */
export function CorsFields({ register, wrong }: Props) {
  const list = "font-mono text-xs";
  return (
    <>
      <TextArea
        label="Pages that may read answers"
        hint={
          <>
            One origin a line, such as <code>https://app.example.com</code>; <code>https://*</code> for every
            page over https, <code>*</code> for every page.
          </>
        }
        className={list}
        error={wrong?.allowOrigins?.message}
        {...register("allowOrigins")}
      />
      <TextArea
        label="Methods they may use"
        optional
        hint={
          <>
            Such as <code>PUT</code>, or <code>*</code>. With none, browsers allow GET, HEAD and POST, and in
            a native API what a route takes.
          </>
        }
        className={list}
        error={wrong?.allowMethods?.message}
        {...register("allowMethods")}
      />
      <TextArea
        label="Headers they may send"
        optional
        hint={
          <>
            Such as <code>x-api-key</code>, or <code>*</code>, which does not stand for{" "}
            <code>authorization</code>.
          </>
        }
        className={list}
        error={wrong?.allowHeaders?.message}
        {...register("allowHeaders")}
      />
      <TextArea
        label="Headers they may read"
        optional
        className={list}
        error={wrong?.exposeHeaders?.message}
        {...register("exposeHeaders")}
      />
      <SwitchField
        label="Credentials"
        hint="Pages may send cookies and the like. Browsers refuse this beside * in any list."
        error={wrong?.allowCredentials?.message}
        {...register("allowCredentials")}
      />
      <TextField
        label="Seconds that browsers remember it"
        optional
        inputMode="numeric"
        placeholder="5"
        hint="At most 86400; -1 to ask before each call."
        error={wrong?.maxAge?.message}
        {...register("maxAge")}
      />
    </>
  );
}
