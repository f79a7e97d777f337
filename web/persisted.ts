/** A step of the build: every GraphQL document of the console gets a hash, by which the server finds it too. */
import { createHash } from "node:crypto";

/** A document as codegen writes it. */
const DOCUMENT = /new TypedDocumentString\(`([^`]*)`\)/g;

/** Each document's text under its SHA-256. */
export type Manifest = Record<string, string>;

/**
 * The generated code with each document's hash beside it, and the manifest of all. The hash is of the very text that
 * is sent where the server does not know it.
 */
export function persist(generated: string): { code: string; manifest: Manifest } {
  const manifest: Manifest = {};
  const code = generated.replace(DOCUMENT, (_, text: string) => {
    // What stands between the backticks would not be the text.
    if (text.includes("\\") || text.includes("${")) throw new Error(`an escape in a document: ${text}`);
    const hash = createHash("sha256").update(text).digest("hex");
    manifest[hash] = text;
    return `new TypedDocumentString(\`${text}\`, { hash: "${hash}" })`;
  });
  if (Object.keys(manifest).length === 0) throw new Error("no document was found in the generated code");
  return { code, manifest };
}
