import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { persist } from "../../persisted";
import * as generated from "./generated/graphql";
import manifest from "./generated/persisted-documents.json";
import { asked, isUnknown } from "./persisted";

const documents = Object.entries(generated).filter(([name]) => name.endsWith("Document"));

describe("the build", () => {
  it("lists every document by the hash of the text that would be sent", () => {
    expect(documents.length).toBeGreaterThan(50);
    const listed: Record<string, string> = manifest;
    for (const [name, document] of documents) {
      const hash = createHash("sha256").update(document.toString()).digest("hex");
      expect(document).toHaveProperty("__meta__.hash", hash);
      expect(listed[hash], name).toBe(document.toString());
    }
    expect(Object.keys(listed).length).toBe(new Set(documents.map(([, document]) => `${document}`)).size);
  });

  it("refuses what would have another text than it shows", () => {
    const code = (text: string) => `new TypedDocumentString(\`${text}\`)`;
    expect(Object.values(persist(code("{ a(b: $c) }")).manifest)).toEqual(["{ a(b: $c) }"]);
    expect(() => persist(code('{ a(b: "\\n") }'))).toThrow("escape");
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is what must not be there
    expect(() => persist(code("{ ${a} }"))).toThrow("escape");
    expect(() => persist("export {}")).toThrow("no document");
  });
});

describe("a document", () => {
  const make = (text: string) => ({ toString: () => text, __meta__: { hash: "the hash" } });
  const byHash = { persistedQuery: { version: 1, sha256Hash: "the hash" } };
  const refused = (code: string, param?: string) => ({ extensions: { code, param } });

  it("is asked for by its hash, and by its text where it has none", () => {
    expect(asked(make("\n  query A($b: ID!) { c }"))).toEqual({ operationName: "A", extensions: byHash });
    expect(asked({ toString: () => "{ a }" })).toEqual({ query: "{ a }" });
  });

  it.each([
    ["a server of another release", "PERSISTED_QUERY_NOT_FOUND", undefined],
    ["a server from before there were hashes", "bad_request", "query"],
  ])("is sent whole to %s, and refused but once", (_, code, param) => {
    const document = make(`mutation B { ${code} }`);
    const [first, beside] = [asked(document), asked(document)];
    expect(isUnknown(document, first, refused(code, param))).toBe(true);
    expect(isUnknown(document, beside, refused(code, param))).toBe(true);
    const then = asked(document);
    expect(then).toEqual({ operationName: "B", query: document.toString() });
    expect(isUnknown(document, then, refused(code, param))).toBe(false);
  });

  it("is not sent again for any other refusal", () => {
    const document = make("query C { d }");
    for (const refusal of [undefined, {}, refused("unauthenticated"), refused("bad_request", "input.name")]) {
      expect(isUnknown(document, asked(document), refusal)).toBe(false);
    }
    expect(asked(document).extensions).toEqual(byHash);
  });
});
