import type { AuditQuery } from "../api/generated/graphql";
import type { Change } from "../lib/diff";
import { count } from "../lib/format";
import { CopyText } from "../ui/copy";
import { Fact, Facts } from "../ui/panel";
import { DataTable } from "../ui/table";

/** In a tenant's log, who it was where no address is told. */
export function nameless(userId: string | null | undefined): string {
  return userId ? "the operator or a former member" : "the system";
}

/** Who did it, from where, to what, and its place in the log. */
export function AuditFacts({
  entry,
  nameless,
}: {
  entry: Pick<Entry, "userEmail" | "address" | "noun" | "nounId" | "requestId" | "sequence" | "hash">;
  nameless: string;
}) {
  return (
    <Facts>
      <Fact name="Who">{entry.userEmail ?? <span className="text-muted">{nameless}</span>}</Fact>
      <Fact name="From">
        <code className="font-mono text-xs">{entry.address || "inside"}</code>
      </Fact>
      <Fact name="Id">
        <CopyText text={entry.nounId} what={`${entry.noun} id`} />
      </Fact>
      <Fact name="Request id">
        <CopyText text={entry.requestId} what="request id" />
      </Fact>
      {entry.sequence != null && <Fact name="Place in the log">{count(entry.sequence)}</Fact>}
      {entry.hash && (
        <Fact name="Hash">
          <CopyText text={entry.hash} what="hash" />
        </Fact>
      )}
    </Facts>
  );
}

type Entry = AuditQuery["auditEntries"]["nodes"][number];

/** Each field before and after, as text. */
export function Difference({ changes }: { changes: readonly Change[] }) {
  if (changes.length === 0) return <p className="p-4 text-muted">Nothing that is written down.</p>;
  const cell = (value: string | undefined, look: string) =>
    value === undefined ? (
      <span className="text-muted">none</span>
    ) : (
      <code
        className={`inline-block rounded-sm px-1.5 py-0.5 font-mono text-xs wrap-anywhere whitespace-pre-wrap ${look}`}
      >
        {value === "" ? '""' : value}
      </code>
    );
  return (
    <DataTable
      caption="Fields before and after"
      rows={changes}
      rowKey={({ field }) => field}
      columns={[
        {
          header: "Field",
          cell: ({ field }) => <code className="font-mono text-xs">{field || "(all)"}</code>,
        },
        { header: "Before", cell: ({ before }) => cell(before, "bg-bad-soft text-bad") },
        { header: "After", cell: ({ after }) => cell(after, "bg-ok-soft text-ok") },
      ]}
    />
  );
}
