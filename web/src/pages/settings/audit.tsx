import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { request } from "../../api/client";
import { graphql } from "../../api/generated";
import { query } from "../../api/query";
import { AuditVerdict } from "../../components/audit-verdict";
import { DownloadButton } from "../../components/download-button";
import { Loaded } from "../../components/loaded";
import { Pager } from "../../components/pager";
import { changes } from "../../lib/diff";
import { minute } from "../../lib/format";
import { type AuditSearch, paths } from "../../lib/paths";
import { Button } from "../../ui/button";
import { CopyText } from "../../ui/copy";
import { Dialog } from "../../ui/dialog";
import { SelectField, TextField } from "../../ui/field";
import { Empty, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";

const AuditDocument = graphql(`
  query Audit($filter: AuditFilter, $after: String) {
    auditEntries(filter: $filter, first: 50, after: $after) {
      nodes { id action noun nounId userEmail before after createdAt }
      pageInfo { hasNextPage hasPreviousPage endCursor }
    }
  }
`);

const AuditActorsDocument = graphql(`
  query AuditActors {
    members(first: 100) { nodes { id user { id email } } }
  }
`);

const CreateAuditDownloadDocument = graphql(`
  mutation CreateAuditDownload {
    createAuditDownload { url userErrors { code message param } }
  }
`);

const route = getRouteApi("/tenant/settings/audit");

export function AuditPage() {
  const search = route.useSearch();
  const { after, ...filter } = search;
  const audit = useQuery(query(AuditDocument, { filter, after }));
  const [verifying, setVerifying] = useState(false);
  return (
    <>
      <Panel>
        <Filters search={search} />
      </Panel>
      <Panel
        title="Audit log"
        note="Every change, who made it, and what was before. It cannot be edited unnoticed."
        flush
        actions={
          <>
            <Button onClick={() => setVerifying(true)}>Verify</Button>
            <DownloadButton
              ask={async () => (await request(CreateAuditDownloadDocument)).createAuditDownload}
            >
              Export
            </DownloadButton>
          </>
        }
      >
        <Loaded query={audit} lines={10}>
          {({ auditEntries: { nodes, pageInfo } }) =>
            nodes.length === 0 ? (
              <Empty title="No such change">
                Each change to this organisation is listed here. Drop a filter to see more.
              </Empty>
            ) : (
              <>
                <DataTable
                  caption="Audit log"
                  rows={nodes}
                  rowKey={(entry) => entry.id}
                  columns={[
                    {
                      header: "When",
                      cell: (entry) => (
                        <Link
                          {...paths.auditEntry(entry.id)}
                          className="font-medium whitespace-nowrap tabular-nums hover:text-accent hover:underline"
                        >
                          {minute(entry.createdAt)}
                        </Link>
                      ),
                    },
                    {
                      header: "Who",
                      cell: (entry) => entry.userEmail ?? <span className="text-muted">the system</span>,
                    },
                    {
                      header: "What",
                      cell: (entry) => <code className="font-mono text-xs">{entry.action}</code>,
                    },
                    {
                      header: "Id",
                      cell: (entry) => (
                        <span className="flex max-w-48">
                          <CopyText text={entry.nounId} what={`${entry.noun} id`} />
                        </span>
                      ),
                    },
                    {
                      header: "Changed",
                      cell: (entry) => <Fields before={entry.before} after={entry.after} />,
                    },
                  ]}
                />
                <Pager
                  pageInfo={pageInfo}
                  after={after}
                  first={paths.audit(filter)}
                  next={(after) => paths.audit({ ...filter, after })}
                />
              </>
            )
          }
        </Loaded>
      </Panel>
      {verifying && (
        <Dialog title="Verify the audit log" onClose={() => setVerifying(false)}>
          <AuditVerdict />
        </Dialog>
      )}
    </>
  );
}

/** How many names of fields stand in a row. */
const FIELDS_MAX = 3;

function Fields({
  before,
  after,
}: {
  before?: string | null | undefined;
  after?: string | null | undefined;
}) {
  if (!before || !after) return <span className="text-muted">{before ? "deleted" : "new"}</span>;
  const fields = changes(before, after).map(({ field }) => field);
  const more = fields.length - FIELDS_MAX;
  return (
    <span className="wrap-anywhere text-muted">
      {fields.slice(0, FIELDS_MAX).join(", ")}
      {more > 0 && ` and ${more} more`}
    </span>
  );
}

/** What entries are about, as the log spells it, and what is done to each. */
const ACTIONS: Record<string, readonly string[]> = {
  access_key: ["create", "update", "delete"],
  api: ["create", "update", "delete"],
  api_key: ["create", "update", "delete"],
  consumer: ["create", "update", "delete"],
  deployment: ["create", "delete"],
  integration: ["create", "update", "delete"],
  invitation: ["create", "update", "delete", "accept"],
  member: ["create", "update", "delete"],
  resource: ["create", "delete"],
  route: ["create", "update", "delete"],
  session: ["create", "delete", "revoke"],
  stage: ["create", "update", "delete"],
  tenant: ["create", "update"],
  usage_plan: ["create", "update", "delete"],
};

/** Each filter is a part of the URL: a view can be bookmarked and sent to someone. */
function Filters({ search }: { search: AuditSearch }) {
  const navigate = useNavigate();
  const members = useQuery(query(AuditActorsDocument)).data?.members.nodes ?? [];
  const set = (change: Partial<AuditSearch>) =>
    void navigate({ ...paths.audit({ ...search, ...change, after: undefined }), replace: true });
  const actions = (ACTIONS[search.noun ?? ""] ?? []).map((verb) => `${search.noun}.${verb}`);
  // An address may name what this list does not.
  if (search.action && !actions.includes(search.action)) actions.push(search.action);
  const nouns = Object.keys(ACTIONS);
  if (search.noun && !nouns.includes(search.noun)) nouns.push(search.noun);
  const words = (name: string) => name.replaceAll("_", " ");
  return (
    <search className="grid grid-cols-2 items-end gap-3 md:grid-cols-3">
      <SelectField
        label="Who"
        value={search.actor ?? ""}
        onChange={(event) => set({ actor: event.target.value || undefined })}
      >
        <option value="">Anyone</option>
        {members.map(({ user }) => (
          <option key={user.id} value={user.id}>
            {user.email}
          </option>
        ))}
      </SelectField>
      <SelectField
        label="Thing"
        value={search.noun ?? ""}
        onChange={(event) => set({ noun: event.target.value || undefined, action: undefined })}
      >
        <option value="">Any</option>
        {nouns.map((noun) => (
          <option key={noun} value={noun}>
            {words(noun)}
          </option>
        ))}
      </SelectField>
      <SelectField
        label="Action"
        value={search.action ?? ""}
        disabled={actions.length === 0}
        onChange={(event) => set({ action: event.target.value || undefined })}
      >
        <option value="">{actions.length === 0 ? "Choose a thing first" : "Any"}</option>
        {actions.map((action) => (
          <option key={action} value={action}>
            {words(action.split(".")[1] ?? action)}
          </option>
        ))}
      </SelectField>
      <TextField
        label="Since (UTC)"
        type="datetime-local"
        value={search.since?.slice(0, 16) ?? ""}
        onChange={(event) => set({ since: instant(event.target.value) })}
      />
      <TextField
        label="Until (UTC)"
        type="datetime-local"
        value={search.until?.slice(0, 16) ?? ""}
        onChange={(event) => set({ until: instant(event.target.value) })}
      />
      <div className="flex">
        <Button look="quiet" onClick={() => void navigate({ ...paths.audit(), replace: true })}>
          Reset
        </Button>
      </div>
    </search>
  );
}

function instant(typed: string): string | undefined {
  return typed ? `${typed}:00.000Z` : undefined;
}
