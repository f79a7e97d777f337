import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { SelectField, TextArea, TextField } from "../ui/field";
import { toast } from "../ui/toast";
import { lines, linesTyped, requiredText } from "./fields";
import { Form, useSchemaForm } from "./form";

const UpdateApiDocument = graphql(`
  mutation UpdateApi($input: UpdateApiInput!) {
    updateApi(input: $input) { api { id } userErrors { code message param } }
  }
`);

const schema = z.object({
  name: requiredText("Name the API."),
  description: z.string().trim(),
  apiKeyLocations: lines,
  trailingSlash: z.enum(["", "STRICT", "IGNORE", "REDIRECT"]).transform((slash) => slash || null),
  pathNormalization: z.enum(["", "REJECT", "NORMALIZE", "PASS"]).transform((paths) => paths || null),
  minimumCompressionSize: z
    .string()
    .trim()
    .regex(/^\d*$/, "Enter a number of bytes, such as 1024, or nothing.")
    .transform((bytes) => (bytes === "" ? null : Number(bytes))),
  decompressRequests: z.enum(["", "ON", "OFF"]).transform((way) => (way === "" ? null : way === "ON")),
  binaryMediaTypes: lines,
  methodOverride: z.enum(["", "ON", "OFF"]).transform((way) => (way === "" ? null : way === "ON")),
});

type Api = {
  id: string;
  name: string;
  description: string;
  dialect: "NATIVE" | "AWS_REST" | "AWS_HTTP";
  apiKeyLocations: readonly string[];
  trailingSlash?: "STRICT" | "IGNORE" | "REDIRECT" | null;
  pathNormalization?: "REJECT" | "NORMALIZE" | "PASS" | null;
  minimumCompressionSize?: number | null;
  decompressRequests?: boolean | null;
  binaryMediaTypes: readonly string[];
  methodOverride?: boolean | null;
};

const decompressedByDialect = {
  NATIVE: "decompressed for functions",
  AWS_REST: "bodies are decompressed",
  AWS_HTTP: "bodies pass as they came",
};

export function ApiUpdateForm({ api }: { api: Api }) {
  const form = useSchemaForm(schema, {
    name: api.name,
    description: api.description,
    apiKeyLocations: linesTyped(api.apiKeyLocations),
    trailingSlash: api.trailingSlash ?? "",
    pathNormalization: api.pathNormalization ?? "",
    minimumCompressionSize: api.minimumCompressionSize?.toString() ?? "",
    decompressRequests: api.decompressRequests == null ? "" : api.decompressRequests ? "ON" : "OFF",
    binaryMediaTypes: linesTyped(api.binaryMediaTypes),
    methodOverride: api.methodOverride == null ? "" : api.methodOverride ? "ON" : "OFF",
  });
  const { errors } = form.formState;
  return (
    <Form
      form={form}
      needs="manageApis"
      submit="Save"
      send={async (values) => {
        const input = { id: api.id, ...values };
        const { api: saved, userErrors } = (await request(UpdateApiDocument, { input })).updateApi;
        if (saved) {
          toast("API saved");
          await refreshAll();
        }
        return userErrors;
      }}
    >
      <TextField label="Name" error={errors.name?.message} {...form.register("name")} />
      <TextArea
        label="Description"
        optional
        error={errors.description?.message}
        {...form.register("description")}
      />
      <TextArea
        label="Where callers put their API key"
        hint={
          <>
            One a line, up to five; the first that a call has decides. A header, such as{" "}
            <code>$request.header.x-api-key</code>; <code>$request.header.Authorization</code> for Bearer; a
            query parameter, such as <code>$request.querystring.api_key</code>, which is not passed on. Live
            with the next deployment.
          </>
        }
        className="font-mono text-xs"
        error={errors.apiKeyLocations?.message}
        {...form.register("apiKeyLocations")}
      />
      <SelectField
        label="A slash at a path's end"
        hint="What /pets/ means where /pets is a route. Live with the next deployment."
        error={errors.trailingSlash?.message}
        {...form.register("trailingSlash")}
      >
        <option value="">
          As the dialect has it: {api.dialect === "AWS_REST" ? "the same path" : "another path"}
        </option>
        <option value="STRICT">Another path</option>
        <option value="IGNORE">The same path</option>
        <option value="REDIRECT">Callers are sent to the path without it</option>
      </SelectField>
      <SelectField
        label="Dot segments and doubled slashes"
        hint={
          <>
            What becomes of <code>/a/../b</code> and <code>{"/a//b"}</code>, in any encoding, before a route
            is chosen. A path that passes as it came may be another to its backend than to the routes and
            limits here. Live with the next deployment.
          </>
        }
        error={errors.pathNormalization?.message}
        {...form.register("pathNormalization")}
      >
        <option value="">As the dialect has it: calls are refused</option>
        <option value="REJECT">Calls are refused</option>
        <option value="NORMALIZE">They are taken out</option>
        <option value="PASS">The path passes as it came</option>
      </SelectField>
      <TextField
        label="Compress answers from so many bytes on"
        optional
        inputMode="numeric"
        placeholder="Nothing is compressed"
        hint="For callers whose Accept-Encoding takes it. 1024 suits most; 0 to 10485760. Live with the next deployment."
        error={errors.minimumCompressionSize?.message}
        {...form.register("minimumCompressionSize")}
      />
      <SelectField
        label="Compressed requests"
        hint="What becomes of a body with a Content-Encoding on its way. Where bodies are decompressed, an encoding that this API does not take is refused with 415. Live with the next deployment."
        error={errors.decompressRequests?.message}
        {...form.register("decompressRequests")}
      >
        <option value="">As the dialect has it: {decompressedByDialect[api.dialect]}</option>
        <option value="ON">Bodies are decompressed</option>
        <option value="OFF">Bodies pass as they came</option>
      </SelectField>
      <TextArea
        label="Binary media types"
        optional
        rows={2}
        className="font-mono text-xs"
        hint={
          <>
            One a line, as <code>image/png</code>, <code>image/*</code> or <code>*/*</code>. Functions get
            such bodies as base64. Bytes that pass through to a backend need none. Live with the next
            deployment.
          </>
        }
        error={errors.binaryMediaTypes?.message}
        {...form.register("binaryMediaTypes")}
      />
      <SelectField
        label="X-HTTP-Method-Override"
        hint="Whether a caller may name another method in this header. Its backend gets that method, and not the header. Live with the next deployment."
        error={errors.methodOverride?.message}
        {...form.register("methodOverride")}
      >
        <option value="">
          As the dialect has it: {api.dialect === "AWS_REST" ? "it counts" : "it means nothing"}
        </option>
        <option value="ON">It counts</option>
        <option value="OFF">It means nothing</option>
      </SelectField>
    </Form>
  );
}
