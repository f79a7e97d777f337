/** Texts that do harm wherever they are taken for more than text, put into every field that a mutation takes. */
import { randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  buildSchema,
  type GraphQLInputObjectType,
  getNamedType,
  getNullableType,
  isInputObjectType,
  isListType,
} from "graphql";
import type { Visit } from "./console";

const schema = buildSchema(readFileSync(join(import.meta.dirname, "../schema.graphql"), "utf8"));

/** From as long as any field takes to as short as the harm needs. */
const LENGTHS = [4096, 1024, 256, 128, 64];
/** What these hold around any text. */
const AROUND: Record<string, [before: string, after: string]> = {
  path: ["/", ""],
  routeKey: ["GET /", ""],
  uri: ["http://127.0.0.1:9/", ""],
  email: ["", "@example.com"],
};

/** What a field is given, one after the other, until the server takes it: a formula, a script, reversed, very long. */
function* texts(field: string, number: number): Generator<string> {
  const script = `<img src=x onerror=planted=${number}>`;
  const [before, after] = AROUND[field.split(".").at(-1) ?? ""] ?? ["", ""];
  for (const length of LENGTHS)
    yield `${before}${`=cmd|'/C calc'!A0"'>${script}\u202eesrever`.padEnd(length, "W")}${after}`;
  yield `${before}"'>${script}${after}`;
  yield `${before}<img/src=x/onerror=planted=${number}>${after}`;
  yield `${before}{{${number}*7}}$\{${number}}${after}`;
  yield `${before}planted_${number}${after}`;
}

type Input = { [field: string]: unknown };
export type Planted = { field: string; text: string };

/** A version is compared with the present one, and what a change is called is given back: neither is ever kept. */
const NEVER_KEPT = ["expectedVersion", "clientMutationId"];
const takesText = (name: string, type: string) => type === "String" && !NEVER_KEPT.includes(name);

/** Every text field of every mutation, as `createApi.name`. */
export function textFields(): string[] {
  const found: string[] = [];
  const walk = (type: GraphQLInputObjectType, at: string) => {
    for (const [name, { type: of }] of Object.entries(type.getFields())) {
      const inner = getNamedType(of);
      if (isInputObjectType(inner)) walk(inner, `${at}.${name}`);
      else if (takesText(name, inner.name)) found.push(`${at}.${name}`);
    }
  };
  for (const mutation of Object.values(schema.getMutationType()?.getFields() ?? {}))
    for (const { type } of mutation.args) {
      const inner = getNamedType(type);
      if (isInputObjectType(inner)) walk(inner, mutation.name);
    }
  return found;
}

export class Planter {
  readonly planted: Planted[] = [];

  constructor(
    private readonly visit: Visit,
    readonly accessToken: string,
  ) {}

  /** One mutation with `base` and a text in every other field that takes one; its payload's `selection`. */
  async mutate<T>(mutation: string, selection: string, base: Input): Promise<T> {
    const type = schema.getMutationType()?.getFields()[mutation]?.args[0]?.type;
    const of = type && getNamedType(type);
    if (!isInputObjectType(of)) throw new Error(`${mutation} takes no input`);
    const growing = new Map<string, { texts: Generator<string>; text: string | undefined }>();
    const fill = (of: GraphQLInputObjectType, given: Input, at: string): Input => {
      const input: Input = { ...given };
      for (const [name, { type }] of Object.entries(of.getFields())) {
        const [inner, field] = [getNamedType(type), `${at}.${name}`];
        if (isInputObjectType(inner)) {
          if (given[name] === null) continue;
          const one = (from: unknown) => fill(inner, (from ?? {}) as Input, field);
          const list = isListType(getNullableType(type));
          if (list) input[name] = ((given[name] as unknown[] | undefined) ?? [{}]).map(one);
          else if (given[name] !== undefined) input[name] = one(given[name]);
        } else if (takesText(name, inner.name) && given[name] === undefined) {
          let kept = growing.get(field);
          if (!kept) {
            const all = texts(field, randomInt(1_000_000));
            kept = { texts: all, text: all.next().value as string };
            growing.set(field, kept);
          }
          input[name] = kept.text;
        }
      }
      return input;
    };
    for (;;) {
      const input = fill(of, base, mutation);
      const query = `mutation ($input: ${of.name}!) { ${mutation}(input: $input) { ${selection} userErrors { message param } } }`;
      const data = await this.visit.graphql<Record<string, Answer>>(query, { input }, this.accessToken);
      const { userErrors, ...payload } = data[mutation] as Answer;
      if (userErrors.length === 0) {
        for (const [field, { text }] of growing) if (text !== undefined) this.planted.push({ field, text });
        return payload as T;
      }
      for (const { param, message } of userErrors) {
        const name = param?.replace(/^input\./, "").replaceAll(/\[\d+\]/g, "");
        const of = [...growing].filter(([field]) => `${field}.`.includes(`.${name}.`));
        // Of a list, the message says what of its parts.
        const refused = (of.find(([field]) => message.includes(field.split(".").at(-1) ?? "")) ?? of[0])?.[1];
        if (refused?.text === undefined) throw new Error(`${mutation}: ${param}: ${message}`);
        refused.text = refused.texts.next().value as string | undefined;
      }
    }
  }
}

type Answer = { userErrors: { message: string; param?: string }[] };
