import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import type { BalancingInput, VpcLinksQuery } from "../api/generated/graphql";
import { refreshAll } from "../api/query";
import { SelectField, TextArea, TextField } from "../ui/field";
import { requiredText } from "./fields";
import { Form, useSchemaForm } from "./form";

const CreateVpcLinkDocument = graphql(`
  mutation CreateVpcLink($input: CreateVpcLinkInput!) {
    createVpcLink(input: $input) { vpcLink { id } userErrors { code message param } }
  }
`);

const UpdateVpcLinkDocument = graphql(`
  mutation UpdateVpcLink($input: UpdateVpcLinkInput!) {
    updateVpcLink(input: $input) { vpcLink { id } userErrors { code message param } }
  }
`);

const TARGET = /^(\[[^\]\s]+\]|[^\s:]+):(\d+)(?:\s+(\d+))?$/;

const number = z.string().trim().regex(/^\d*$/, "Enter a number, or nothing.");

const schema = z
  .object({
    name: requiredText("Name the VPC link."),
    description: z.string(),
    balancing: z.object({
      targets: z
        .string()
        .refine((text) => lines(text).length > 0 && lines(text).every((line) => TARGET.test(line)), {
          message: "Enter a host and a port on each line, and a weight where they differ: 10.0.0.1:8080 2",
        }),
      algorithm: z.enum(["ROUND_ROBIN", "LEAST_CONNECTIONS", "CONSISTENT_HASH"]),
      hashKey: z.object({ source: z.enum(["HEADER", "COOKIE", "SOURCE_IP"]), name: z.string().trim() }),
      healthCheck: z.object({ path: z.string().trim(), intervalMs: number, timeoutMs: number }),
      ejection: z.object({ consecutiveFailures: number, ejectMs: number }),
    }),
  })
  .strict();

type Values = z.output<typeof schema>;
type VpcLink = VpcLinksQuery["vpcLinks"]["nodes"][number];

const lines = (text: string) =>
  text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);

const bare = (host: string) => host.replace(/^\[|\]$/g, "");

/** Makes a VPC link, or changes one. */
export function VpcLinkForm({
  link,
  onDone,
  onCancel,
}: {
  link?: VpcLink;
  onDone: () => void;
  onCancel: () => void;
}) {
  const { healthCheck, ejection, hashKey } = link?.balancing ?? {};
  const targets = link?.balancing.targets.map(
    ({ host, port, weight }) => `${host.includes(":") ? `[${host}]` : host}:${port} ${weight}`,
  );
  const form = useSchemaForm(schema, {
    name: link?.name ?? "",
    description: link?.description ?? "",
    balancing: {
      targets: targets?.join("\n") ?? "",
      algorithm: link?.balancing.algorithm ?? "ROUND_ROBIN",
      hashKey: { source: hashKey?.source ?? "HEADER", name: hashKey?.name ?? "" },
      healthCheck: {
        path: healthCheck?.path ?? "",
        intervalMs: healthCheck ? String(healthCheck.intervalMs) : "",
        timeoutMs: healthCheck ? String(healthCheck.timeoutMs) : "",
      },
      ejection: {
        consecutiveFailures: ejection ? String(ejection.consecutiveFailures) : "",
        ejectMs: ejection ? String(ejection.ejectMs) : "",
      },
    },
  });
  const errors = form.formState.errors;
  const wrong = errors.balancing;
  const byKey = form.watch("balancing.algorithm") === "CONSISTENT_HASH";
  const named = form.watch("balancing.hashKey.source") !== "SOURCE_IP";
  return (
    <Form
      form={form}
      needs="manageApis"
      submit={link ? "Save VPC link" : "Create VPC link"}
      onCancel={onCancel}
      send={async ({ name, description, balancing }) => {
        const given = { name, description, balancing: balancingOf(balancing, link) };
        const { userErrors } = link
          ? (await request(UpdateVpcLinkDocument, { input: { id: link.id, ...given } })).updateVpcLink
          : (await request(CreateVpcLinkDocument, { input: given })).createVpcLink;
        if (userErrors.length === 0) {
          await refreshAll();
          onDone();
        }
        return userErrors;
      }}
    >
      <TextField label="Name" error={errors.name?.message} {...form.register("name")} />
      <TextField
        label="Description"
        optional
        error={errors.description?.message}
        {...form.register("description")}
      />
      <TextArea
        label="Targets"
        rows={4}
        placeholder={"10.0.0.1:8080\n10.0.0.2:8080"}
        hint="A host and a port on each line, and a weight where they differ; 0 gets no new calls."
        className="font-mono text-xs"
        error={wrong?.targets?.message}
        {...form.register("balancing.targets")}
      />
      <SelectField
        label="Calls go"
        error={wrong?.algorithm?.message}
        {...form.register("balancing.algorithm")}
      >
        <option value="ROUND_ROBIN">To the targets in turn, by weight</option>
        <option value="LEAST_CONNECTIONS">To the target with the fewest calls in progress</option>
        <option value="CONSISTENT_HASH">To the same target for the same key</option>
      </SelectField>
      {byKey && (
        <div className="grid gap-3 sm:grid-cols-2">
          <SelectField
            label="Key"
            error={wrong?.hashKey?.source?.message}
            {...form.register("balancing.hashKey.source")}
          >
            <option value="HEADER">A header</option>
            <option value="COOKIE">A cookie</option>
            <option value="SOURCE_IP">The client's address</option>
          </SelectField>
          {named && (
            <TextField
              label="Name of the header or cookie"
              error={wrong?.hashKey?.name?.message}
              {...form.register("balancing.hashKey.name")}
            />
          )}
        </div>
      )}
      <TextField
        label="Path of health checks"
        optional
        placeholder="/health"
        hint="Empty: targets are not asked."
        className="font-mono text-xs"
        error={wrong?.healthCheck?.path?.message}
        {...form.register("balancing.healthCheck.path")}
      />
      <div className="grid gap-3 sm:grid-cols-2">
        <TextField
          label="Asked every, in milliseconds"
          optional
          inputMode="numeric"
          placeholder="10000"
          error={wrong?.healthCheck?.intervalMs?.message}
          {...form.register("balancing.healthCheck.intervalMs")}
        />
        <TextField
          label="Time for an answer, in milliseconds"
          optional
          inputMode="numeric"
          placeholder="5000"
          error={wrong?.healthCheck?.timeoutMs?.message}
          {...form.register("balancing.healthCheck.timeoutMs")}
        />
        <TextField
          label="Failures in a row that eject a target"
          optional
          inputMode="numeric"
          placeholder="5"
          hint="Empty: none is ejected."
          error={wrong?.ejection?.consecutiveFailures?.message}
          {...form.register("balancing.ejection.consecutiveFailures")}
        />
        <TextField
          label="Ejected for, in milliseconds"
          optional
          inputMode="numeric"
          placeholder="30000"
          error={wrong?.ejection?.ejectMs?.message}
          {...form.register("balancing.ejection.ejectMs")}
        />
      </div>
    </Form>
  );
}

const numbers = <T extends Record<string, string>>(typed: T) =>
  Object.fromEntries(
    Object.entries(typed)
      .filter(([, text]) => text !== "")
      .map(([name, text]) => [name, Number(text)]),
  ) as { [K in keyof T]?: number };

/** What the form does not ask for stays as it was. */
function balancingOf(typed: Values["balancing"], link: VpcLink | undefined): BalancingInput {
  const before = link?.balancing;
  const { path, ...times } = typed.healthCheck;
  const byKey = typed.algorithm === "CONSISTENT_HASH";
  const { source, name } = typed.hashKey;
  const isAsked = path || before?.healthCheck?.protocol === "TCP";
  return {
    targets: lines(typed.targets).map((line) => {
      const [, host = "", port, weight] = TARGET.exec(line) ?? [];
      return { host: bare(host), port: Number(port), weight: Number(weight ?? 1) };
    }),
    algorithm: typed.algorithm,
    ...(byKey ? { hashKey: { source, name: source === "SOURCE_IP" ? "" : name } } : {}),
    ...(isAsked ? { healthCheck: { ...before?.healthCheck, path: path || "/", ...numbers(times) } } : {}),
    ...(typed.ejection.consecutiveFailures
      ? { ejection: { ...before?.ejection, ...numbers(typed.ejection) } }
      : {}),
  };
}
