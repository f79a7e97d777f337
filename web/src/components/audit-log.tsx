import { useQuery } from "@tanstack/react-query";
import { Link, type LinkProps, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import type { AuditQuery } from "../api/generated/graphql";
import { query } from "../api/query";
import { changes } from "../lib/diff";
import { minute } from "../lib/format";
import type { AuditSearch } from "../lib/paths";
import { Button } from "../ui/button";
import { CopyText } from "../ui/copy";
import { Dialog } from "../ui/dialog";
import { SelectField, TextField } from "../ui/field";
import { Empty, Panel } from "../ui/panel";
import { DataTable } from "../ui/table";
import { AuditFacts, Difference } from "./audit-entry";
import { AuditVerdict } from "./audit-verdict";
import { DownloadButton } from "./download-button";
import { Loaded } from "./loaded";
import { Pager } from "./pager";
import { TextFilter } from "./text-filter";

const AuditDocument = graphql(`
  query Audit($filter: AuditFilter, $after: String) {
    auditEntries(filter: $filter, first: 50, after: $after) {
      nodes {
        id action noun nounId userId userEmail address before after requestId sequence hash createdAt
      }
      pageInfo { hasNextPage hasPreviousPage endCursor }
    }
  }
`);

const CreateAuditDownloadDocument = graphql(`
  mutation CreateAuditDownload {
    createAuditDownload { url userErrors { code message param } }
  }
`);

type Entry = AuditQuery["auditEntries"]["nodes"][number];

/** One's log, and what tells it from another's. */
type Log = {
  search: AuditSearch;
  /** This page with other filters. */
  address: (search: AuditSearch) => LinkProps;
  /** What the log is of: "this organisation". */
  of: string;
  /** What entries are about, as the log spells it, and what is done to each. */
  actions: Record<string, readonly string[]>;
  /** Who can be asked for, where they can be listed. */
  actors?: readonly { id: string; email: string }[];
  /** Who it was where no address is told. */
  nameless: (userId: string | null | undefined) => string;
  /** An entry's own page; without one it opens above the list. */
  entry?: (id: string) => LinkProps;
};

/** Every change, newest first, by its filters; to check, and to take away. */
export function AuditLog({ search, address, of, actions, actors, nameless, entry: page }: Log) {
  const { after, ...filter } = search;
  const audit = useQuery(query(AuditDocument, { filter, after }));
  const [verifying, setVerifying] = useState(false);
  const [shown, setShown] = useState<Entry>();
  return (
    <>
      <Panel>
        <Filters search={search} address={address} actions={actions} actors={actors} />
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
                Each change to {of} is listed here. Drop a filter to see more.
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
                        <When entry={entry} to={page?.(entry.id)} onShow={() => setShown(entry)} />
                      ),
                    },
                    {
                      header: "Who",
                      cell: (entry) =>
                        entry.userEmail ?? <span className="text-muted">{nameless(entry.userId)}</span>,
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
                  first={address(filter)}
                  next={(after) => address({ ...filter, after })}
                />
              </>
            )
          }
        </Loaded>
      </Panel>
      {verifying && (
        <Dialog title="Verify the audit log" onClose={() => setVerifying(false)}>
          <AuditVerdict entry={page} />
        </Dialog>
      )}
      {shown && (
        <Dialog title={shown.action} onClose={() => setShown(undefined)}>
          <div className="flex flex-col gap-4">
            <AuditFacts entry={shown} nameless={nameless(shown.userId)} />
            <Difference changes={changes(shown.before, shown.after)} />
          </div>
        </Dialog>
      )}
    </>
  );
}

const WHEN = "font-medium whitespace-nowrap tabular-nums hover:text-accent hover:underline";

/** When it was, which leads to the whole entry. */
function When({ entry, to, onShow }: { entry: Entry; to: LinkProps | undefined; onShow: () => void }) {
  const when = minute(entry.createdAt);
  return to ? (
    <Link {...to} className={WHEN}>
      {when}
    </Link>
  ) : (
    <button type="button" onClick={onShow} className={WHEN}>
      {when}
    </button>
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
  if (!before && !after) return <span className="text-muted">nothing</span>;
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

/** Each filter is a part of the URL: a view can be bookmarked and sent to someone. */
function Filters({
  search,
  address,
  actions: known,
  actors,
}: Pick<Log, "search" | "address" | "actions" | "actors">) {
  const navigate = useNavigate();
  const set = (change: Partial<AuditSearch>) =>
    void navigate({ ...address({ ...search, ...change, after: undefined }), replace: true });
  const actions = (known[search.noun ?? ""] ?? []).map((verb) => `${search.noun}.${verb}`);
  // An address may name what this list does not.
  if (search.action && !actions.includes(search.action)) actions.push(search.action);
  const nouns = Object.keys(known);
  if (search.noun && !nouns.includes(search.noun)) nouns.push(search.noun);
  const words = (name: string) => name.replaceAll("_", " ");
  return (
    <search className="grid grid-cols-2 items-end gap-3 md:grid-cols-3">
      {actors && (
        <SelectField
          label="Who"
          value={search.actor ?? ""}
          onChange={(event) => set({ actor: event.target.value || undefined })}
        >
          <option value="">Anyone</option>
          {actors.map((user) => (
            <option key={user.id} value={user.id}>
              {user.email}
            </option>
          ))}
        </SelectField>
      )}
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
      <TextFilter
        key={search.requestId ?? ""}
        label="Request id"
        value={search.requestId ?? ""}
        onSet={(requestId) => set({ requestId })}
      />
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
        <Button look="quiet" onClick={() => void navigate({ ...address({}), replace: true })}>
          Reset
        </Button>
      </div>
    </search>
  );
}

function instant(typed: string): string | undefined {
  return typed ? `${typed}:00.000Z` : undefined;
}
