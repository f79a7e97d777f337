import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { CodegenConfig } from "@graphql-codegen/cli";
import { persist } from "./persisted";

const generated = "src/api/generated/";

const config: CodegenConfig = {
  schema: "schema.graphql",
  documents: ["src/**/*.{ts,tsx}", `!${generated}**`],
  generates: {
    [generated]: {
      preset: "client",
      presetConfig: { fragmentMasking: false },
      config: {
        documentMode: "string",
        enumsAsTypes: true,
        useTypeImports: true,
        strictScalars: true,
        scalars: { DateTime: "string", Decimal: "string", Count: "number" },
      },
    },
  },
  hooks: {
    // The preset's own persistedDocuments hashes documents whose fields it has sorted: a mutation would do another
    // thing first, and the text that is sent in its stead would have another hash.
    beforeOneFileWrite: (path: string, content: string) => {
      if (!path.endsWith(join(generated, "graphql.ts"))) return content;
      const { code, manifest } = persist(content);
      writeFileSync(join(generated, "persisted-documents.json"), JSON.stringify(manifest, null, 1));
      return code;
    },
  },
};

export default config;
