import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { z } from "zod";
import { graphql } from "../api/generated";
import { query } from "../api/query";
import { paths } from "../lib/paths";
import { SelectField } from "../ui/field";
import type { RouteFormState } from "./route-schema";
import { Section } from "./section";

const VpcLinkChoicesDocument = graphql(`
  query VpcLinkChoices {
    vpcLinks(first: 100) { nodes { id vpcLinkId name } }
  }
`);

/** Which way calls go to the backend, as chosen: the id of a VPC link, or nothing. */
export const connectionFields = { connectionId: z.string() };

export const connectionOf = ({ connectionId }: { connectionId: string }) =>
  connectionId ? ({ connectionType: "VPC_LINK", connectionId } as const) : {};

export function ConnectionSection({ form }: { form: RouteFormState }) {
  const links = useQuery(query(VpcLinkChoicesDocument));
  const choices = links.data?.vpcLinks.nodes ?? [];
  return (
    <Section
      form={form}
      name="connection"
      title="The way to the backend"
      fields={["integration.connectionId"]}
    >
      <SelectField
        label="VPC link"
        hint={
          <>
            Calls go to the targets of a <Link {...paths.vpcLinks()}>VPC link</Link>; the backend's URL names
            the host that they ask for.
          </>
        }
        error={form.formState.errors.integration?.connectionId?.message}
        {...form.register("integration.connectionId")}
      >
        <option value="">None: to the host of the backend's URL</option>
        {choices.map(({ vpcLinkId, name }) => (
          <option key={vpcLinkId} value={vpcLinkId}>
            {name}
          </option>
        ))}
      </SelectField>
    </Section>
  );
}
