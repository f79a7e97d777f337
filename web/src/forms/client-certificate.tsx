import type { UseFormRegisterReturn } from "react-hook-form";
import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { SelectField, TextArea, TextField } from "../ui/field";
import { requiredText } from "./fields";
import { Form, useSchemaForm } from "./form";

const GenerateClientCertificateDocument = graphql(`
  mutation GenerateClientCertificate($input: GenerateClientCertificateInput!) {
    generateClientCertificate(input: $input) { clientCertificate { id } userErrors { code message param } }
  }
`);

const UploadClientCertificateDocument = graphql(`
  mutation UploadClientCertificate($input: UploadClientCertificateInput!) {
    uploadClientCertificate(input: $input) { clientCertificate { id } userErrors { code message param } }
  }
`);

const UpdateClientCertificateDocument = graphql(`
  mutation UpdateClientCertificate($input: UpdateClientCertificateInput!) {
    updateClientCertificate(input: $input) { clientCertificate { id } userErrors { code message param } }
  }
`);

type Done = { onDone: () => void; onCancel: () => void };

/** Ends the form where nothing is wrong. */
async function told<E>({ userErrors }: { userErrors: readonly E[] }, onDone: () => void) {
  if (userErrors.length === 0) {
    await refreshAll();
    onDone();
  }
  return userErrors;
}

/** `team = payments` on each line. */
const tags = z.string().transform((text, ctx) =>
  text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const at = line.indexOf("=");
      const key = line.slice(0, at).trim();
      if (at < 0 || !key)
        ctx.addIssue({ code: "custom", message: "Enter a key, = and a value on each line." });
      return { key, value: line.slice(at + 1).trim() };
    }),
);

type Tag = { key: string; value: string };

const typedTags = (stored: readonly Tag[]) => stored.map(({ key, value }) => `${key} = ${value}`).join("\n");

function TagsField(field: { error?: string } & UseFormRegisterReturn) {
  return (
    <TextArea
      label="Tags"
      optional
      rows={2}
      hint="A key, = and a value on each line; at most 50."
      {...field}
    />
  );
}

const generating = z.object({
  description: z.string().trim(),
  keyAlgorithm: z.enum(["EC_P256", "RSA_2048"]),
  tags,
});

/** Makes a certificate that is signed by itself. */
export function ClientCertificateGenerateForm({ onDone, onCancel }: Done) {
  const form = useSchemaForm(generating, { description: "", keyAlgorithm: "EC_P256", tags: "" });
  const { errors } = form.formState;
  return (
    <Form
      form={form}
      needs="manageApis"
      submit="Generate certificate"
      onCancel={onCancel}
      send={async (input) =>
        told((await request(GenerateClientCertificateDocument, { input })).generateClientCertificate, onDone)
      }
    >
      <p className="text-muted text-xs">
        It is good for 365 days. Give it to your backends, so that they let in who shows it; its private key
        stays here.
      </p>
      <TextField
        label="Description"
        optional
        error={errors.description?.message}
        {...form.register("description")}
      />
      <SelectField
        label="Key"
        hint="RSA where a backend knows no other."
        error={errors.keyAlgorithm?.message}
        {...form.register("keyAlgorithm")}
      >
        <option value="EC_P256">ECDSA P-256</option>
        <option value="RSA_2048">RSA 2048, as AWS makes them</option>
      </SelectField>
      <TagsField error={errors.tags?.message} {...form.register("tags")} />
    </Form>
  );
}

const uploading = z.object({
  certificateChain: requiredText("Paste the certificate."),
  privateKey: requiredText("Paste its private key."),
  description: z.string().trim(),
  tags,
});

/** Takes a certificate of the tenant's own. */
export function ClientCertificateUploadForm({ onDone, onCancel }: Done) {
  const form = useSchemaForm(uploading, { certificateChain: "", privateKey: "", description: "", tags: "" });
  const { errors } = form.formState;
  return (
    <Form
      form={form}
      needs="manageApis"
      submit="Upload certificate"
      onCancel={onCancel}
      send={async (input) =>
        told((await request(UploadClientCertificateDocument, { input })).uploadClientCertificate, onDone)
      }
    >
      <TextField
        label="Description"
        optional
        error={errors.description?.message}
        {...form.register("description")}
      />
      <TextArea
        label="Certificate chain"
        rows={5}
        className="font-mono text-xs"
        placeholder="-----BEGIN CERTIFICATE-----"
        hint="In PEM, that of the private key first, and each followed by its issuer's: at most 10, and 16 KiB."
        error={errors.certificateChain?.message}
        {...form.register("certificateChain")}
      />
      <TextArea
        label="Private key"
        rows={4}
        className="font-mono text-xs"
        placeholder="-----BEGIN PRIVATE KEY-----"
        hint="In PEM, and not encrypted. It is kept encrypted, and never shown again."
        autoComplete="off"
        spellCheck={false}
        error={errors.privateKey?.message}
        {...form.register("privateKey")}
      />
      <TagsField error={errors.tags?.message} {...form.register("tags")} />
    </Form>
  );
}

const changing = z.object({ description: z.string().trim(), tags });

/** What is said of a certificate; what it is never changes. */
export function ClientCertificateUpdateForm({
  certificate,
  onDone,
  onCancel,
}: Done & { certificate: { id: string; description: string; tags: readonly Tag[] } }) {
  const form = useSchemaForm(changing, {
    description: certificate.description,
    tags: typedTags(certificate.tags),
  });
  const { errors } = form.formState;
  return (
    <Form
      form={form}
      needs="manageApis"
      submit="Save certificate"
      onCancel={onCancel}
      send={async (values) => {
        const input = { id: certificate.id, ...values };
        return told(
          (await request(UpdateClientCertificateDocument, { input })).updateClientCertificate,
          onDone,
        );
      }}
    >
      <TextField
        label="Description"
        optional
        error={errors.description?.message}
        {...form.register("description")}
      />
      <TagsField error={errors.tags?.message} {...form.register("tags")} />
    </Form>
  );
}
