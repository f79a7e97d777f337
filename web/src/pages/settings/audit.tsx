import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { graphql } from "../../api/generated";
import { query } from "../../api/query";
import { nameless } from "../../components/audit-entry";
import { AuditLog } from "../../components/audit-log";
import { paths } from "../../lib/paths";

const AuditActorsDocument = graphql(`
  query AuditActors {
    members(first: 100) { nodes { id user { id email } } }
  }
`);

/** What entries are about, as the log spells it, and what is done to each. */
const ACTIONS: Record<string, readonly string[]> = {
  access_key: ["create", "update", "delete"],
  api: ["create", "update", "delete"],
  api_key: ["create", "update", "delete"],
  consumer: ["create", "update", "delete"],
  deployment: ["create", "delete"],
  gateway_response: ["update", "delete"],
  integration: ["create", "update", "delete"],
  invitation: ["create", "update", "delete", "accept"],
  key_quota: ["update"],
  member: ["create", "update", "delete"],
  resource: ["create", "delete"],
  route: ["create", "update", "delete"],
  session: ["create", "delete", "revoke"],
  stage: ["create", "update", "delete"],
  tenant: ["create", "update", "update_limits", "suspend", "resume", "close", "reopen", "export"],
  usage_plan: ["create", "update", "delete"],
};

const route = getRouteApi("/tenant/settings/audit");

export function AuditPage() {
  const members = useQuery(query(AuditActorsDocument)).data?.members.nodes ?? [];
  return (
    <AuditLog
      search={route.useSearch()}
      address={paths.audit}
      of="this organisation"
      actions={ACTIONS}
      actors={members.map(({ user }) => user)}
      nameless={nameless}
      entry={paths.auditEntry}
    />
  );
}
