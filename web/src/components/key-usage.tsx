import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { graphql } from "../api/generated";
import { query } from "../api/query";
import { count, day } from "../lib/format";
import { isTold, type Periods, remaining } from "../lib/remaining";
import { Button } from "../ui/button";
import { Empty, Panel } from "../ui/panel";
import { DataTable } from "../ui/table";
import { Loaded } from "./loaded";

const KeyUsageDocument = graphql(`
  query KeyUsage($usagePlanId: ID!, $since: DateTime!, $after: String) {
    keyUsage(usagePlanId: $usagePlanId, since: $since, first: 20, after: $after) {
      nodes { day apiKeyId used remaining }
      pageInfo { hasNextPage endCursor }
    }
  }
`);

const DAYS = 7;
const REFRESH_MS = 10_000;

/** What each key used of a plan on the last days, and what its quota left. */
export function KeyUsage({
  usagePlan,
  quota,
  names,
}: {
  usagePlan: string;
  quota: Periods | null | undefined;
  names: ReadonlyMap<string, string>;
}) {
  const [since] = useState(() => new Date(Date.now() - (DAYS - 1) * 86_400_000).toISOString().slice(0, 10));
  const [cursors, setCursors] = useState<string[]>([]);
  const answer = useQuery({
    ...query(KeyUsageDocument, {
      usagePlanId: usagePlan,
      since: `${since}T00:00:00Z`,
      after: cursors.at(-1),
    }),
    refetchInterval: REFRESH_MS,
  });
  return (
    <Panel
      title="Used"
      note={
        quota && !isTold(quota)
          ? "By key and day, UTC. What is left of the quota is not told: its periods are not days, weeks or months in UTC. Seconds behind the calls."
          : "By key and day, UTC, and what is left of the quota at the day's end. Seconds behind the calls."
      }
      flush
    >
      <Loaded query={answer} lines={4}>
        {({ keyUsage: { nodes, pageInfo } }) =>
          nodes.length === 0 ? (
            <Empty title="No keys">Once a key is on this plan, each of its days is listed here.</Empty>
          ) : (
            <>
              <DataTable
                caption="Usage by key and day"
                rows={nodes}
                rowKey={(row) => `${row.day} ${row.apiKeyId}`}
                columns={[
                  { header: "Day", cell: (row) => <span className="whitespace-nowrap">{day(row.day)}</span> },
                  { header: "Key", cell: (row) => names.get(row.apiKeyId) ?? row.apiKeyId },
                  { header: "Used", numeric: true, cell: (row) => count(row.used) },
                  {
                    header: "Remaining",
                    numeric: true,
                    cell: (row) => {
                      const { text, known } = remaining(row.remaining, quota);
                      return known ? text : <span className="text-muted">{text}</span>;
                    },
                  },
                ]}
              />
              {(cursors.length > 0 || pageInfo.hasNextPage) && (
                <nav
                  aria-label="Pages of usage"
                  className="flex items-center justify-end gap-2 border-t border-line px-4 py-2.5"
                >
                  <Button disabled={cursors.length === 0} onClick={() => setCursors(cursors.slice(0, -1))}>
                    Back
                  </Button>
                  <Button
                    disabled={!pageInfo.hasNextPage}
                    onClick={() => pageInfo.endCursor && setCursors([...cursors, pageInfo.endCursor])}
                  >
                    Next
                  </Button>
                </nav>
              )}
            </>
          )
        }
      </Loaded>
    </Panel>
  );
}
