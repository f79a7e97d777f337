import type { ReconciliationState as State } from "../api/generated/graphql";
import { count, minute, time } from "../lib/format";
import { Badge, type Tone } from "../ui/badge";
import { DataTable } from "../ui/table";

const STATES: Record<State, { tone: Tone; label: string }> = {
  PENDING: { tone: "neutral", label: "Not compared yet" },
  AGREES: { tone: "ok", label: "Agrees" },
  DRIFTS: { tone: "bad", label: "Drifts" },
  INCOMPLETE: { tone: "warn", label: "Incomplete" },
};

/** A count beside the ledger, and what the ledger has of it. */
export type Reconciliation = {
  id: string;
  tenantId?: string;
  tenantName?: string;
  kind: "ACCESS_LOG" | "QUOTA";
  usagePlanId?: string | null;
  apiKeyId?: string | null;
  from: string;
  until: string;
  counted: number;
  lost: number;
  held: number;
  state: State;
  ledgerLeast?: number | null;
  ledgerMost?: number | null;
  drift?: number | null;
  comparedAt?: string | null;
};

/** Counts held against the ledger. `whose`: they are of several tenants. */
export function ReconciliationTable({ rows, whose }: { rows: readonly Reconciliation[]; whose?: boolean }) {
  return (
    <DataTable
      caption="Reconciliations"
      rows={rows}
      rowKey={({ id }) => id}
      columns={[
        ...(whose
          ? [
              {
                header: "Organisation",
                cell: ({ tenantId, tenantName }: Reconciliation) => (
                  <span className="block max-w-48 truncate" title={tenantId}>
                    {tenantName}
                  </span>
                ),
              },
            ]
          : []),
        {
          header: "From",
          cell: ({ from, until }) => (
            <span className="whitespace-nowrap tabular-nums" title={`until ${minute(until)}`}>
              {minute(from)}
            </span>
          ),
        },
        {
          header: "Counted by",
          cell: ({ kind, usagePlanId, apiKeyId }) =>
            kind === "ACCESS_LOG" ? (
              "Access logs"
            ) : (
              <>
                Quota of <code className="font-mono text-xs">{apiKeyId}</code> on{" "}
                <code className="font-mono text-xs">{usagePlanId}</code>
              </>
            ),
        },
        {
          header: "Counted",
          numeric: true,
          // Nodes held some of the quota: made or not, nobody had said yet.
          cell: ({ counted, held }) =>
            held === 0 ? count(counted) : `${count(counted)} to ${count(counted + held)}`,
        },
        { header: "Lost", numeric: true, cell: ({ lost }) => count(lost) },
        {
          header: "Ledger",
          numeric: true,
          cell: ({ ledgerLeast: least, ledgerMost: most }) =>
            least == null || most == null
              ? "–"
              : least === most
                ? count(most)
                : `${count(least)} to ${count(most)}`,
        },
        {
          header: "Drift",
          numeric: true,
          cell: ({ drift }) => (drift == null ? "–" : drift > 0 ? `+${count(drift)}` : count(drift)),
        },
        {
          header: "State",
          cell: ({ state, comparedAt }) => (
            <span title={comparedAt ? `Compared ${time(comparedAt)}` : undefined}>
              <Badge tone={STATES[state].tone} dot>
                {STATES[state].label}
              </Badge>
            </span>
          ),
        },
      ]}
    />
  );
}
