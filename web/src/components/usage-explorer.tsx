import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useMemo, useState } from "react";
import { sentence } from "../api/errors";
import { graphql } from "../api/generated";
import type { UsageGroupFilter } from "../api/generated/graphql";
import { query } from "../api/query";
import { bytes, count, minute, statusClass } from "../lib/format";
import { distinct } from "../lib/labels";
import { type Dimension, type Interval, paths, type UsageSearch } from "../lib/paths";
import { sum } from "../lib/series";
import { change, type GroupLine, lines, STEP_MS, type Stretches } from "../lib/stretch";
import { Empty, Loading, Panel } from "../ui/panel";
import { Segments } from "../ui/segments";
import { DataTable } from "../ui/table";
import { Loaded } from "./loaded";
import { Pager } from "./pager";
import { UsageExport } from "./usage-export";

const Bars = lazy(() => import("../ui/bars"));

const UsageGroupSeriesDocument = graphql(`
  query UsageGroupSeries($filter: UsageGroupFilter!, $groupBy: UsageDimension, $interval: UsageInterval!) {
    usageGroupSeries(filter: $filter, groupBy: $groupBy, interval: $interval) { start group other requests }
  }
`);

const UsageGroupsDocument = graphql(`
  query UsageGroups($filter: UsageGroupFilter!, $groupBy: [UsageDimension!]!, $after: String) {
    usageGroups(filter: $filter, groupBy: $groupBy, first: 25, after: $after) {
      nodes {
        apiId stage route apiKeyId usagePlanId consumerId statusClass
        requests billedRequests bytesIn bytesOut
      }
      pageInfo { hasNextPage hasPreviousPage endCursor }
    }
  }
`);

const UsageGroupsBeforeDocument = graphql(`
  query UsageGroupsBefore($filter: UsageGroupFilter!, $groupBy: [UsageDimension!]!) {
    usageGroups(filter: $filter, groupBy: $groupBy, first: 100) {
      nodes { apiId stage route apiKeyId usagePlanId consumerId statusClass requests }
      pageInfo { hasNextPage }
    }
  }
`);

const REFRESH_MS = 10_000;
/** The server's bound on one series. */
const INTERVALS_MAX = 1500;

export const DIMENSION_NAMES: Record<Dimension, string> = {
  STATUS_CLASS: "Status class",
  API: "API",
  STAGE: "Stage",
  ROUTE: "Route",
  API_KEY: "API key",
  USAGE_PLAN: "Usage plan",
  CONSUMER: "Consumer",
};

/** What ids are called, by id. */
export type Names = ReadonlyMap<string, string>;

type Explored = {
  /** As the URL says it, without its time. */
  filter: Omit<UsageGroupFilter, "since" | "until">;
  stretch: Stretches;
  interval: Interval;
  by: Dimension;
  search: UsageSearch;
  names: Names;
};

function nameOf(by: Dimension, group: string | undefined, names: Names): string {
  if (group === undefined) return by === "STAGE" || by === "ROUTE" ? "none" : `no ${DIMENSION_NAMES[by]}`;
  return by === "STATUS_CLASS" ? statusClass(Number(group)) : (names.get(group) ?? group);
}

const CLASS_TOKENS: Record<string, string> = { 2: "--ok", 3: "--line-strong", 4: "--warn", 5: "--bad" };
const CLASS_SWATCHES: Record<string, string> = {
  2: "bg-ok",
  3: "bg-line-strong",
  4: "bg-warn",
  5: "bg-bad",
};
const SWATCHES = ["bg-line-1", "bg-line-2", "bg-line-3", "bg-line-4", "bg-line-5", "bg-line-6"];

type Drawn = GroupLine & { id: string; label: string; token: string; swatch: string };

/** The columns of the numbers beside the lines. */
const ALL = "All";
const BEFORE = "Before";
const START: Record<Interval, string> = { MINUTE: "Minute", HOUR: "Hour", DAY: "Day" };
const OTHERS = "all others";

function drawnOf(found: readonly GroupLine[], by: Dimension, names: Names): Drawn[] {
  const called = found.map(({ group, other }) =>
    other ? { label: OTHERS } : { label: nameOf(by, group, names), id: group },
  );
  const labels = distinct(called, [ALL, BEFORE, ...Object.values(START)]);
  return found.map((line, at) => {
    const { group, other } = line;
    const drawn = { ...line, id: other ? "other" : `group ${group ?? ""}`, label: labels[at] ?? "" };
    if (other) return { ...drawn, token: "--muted", swatch: "bg-muted" };
    if (by === "STATUS_CLASS") {
      const value = group ?? "";
      return {
        ...drawn,
        token: CLASS_TOKENS[value] ?? "--muted",
        swatch: CLASS_SWATCHES[value] ?? "bg-muted",
      };
    }
    return { ...drawn, token: `--line-${(at % 6) + 1}`, swatch: SWATCHES[at % 6] ?? "bg-muted" };
  });
}

/** Why there is nothing to compare with. */
function NotCompared({ error }: { error: unknown }) {
  return (
    <p role="status" className="border-t border-line px-4 py-2.5 text-xs text-muted">
      The time before is not shown: {sentence(error)}
    </p>
  );
}

/** Requests over time, told apart as the URL says, beside the stretch of time before; and their sums. */
export function UsageExplorer(explored: Explored) {
  return (
    <>
      <OverTime {...explored} />
      <Sums {...explored} />
    </>
  );
}

function OverTime({ filter, stretch, interval, by, search, names }: Explored) {
  const { since, until, length, before } = stretch;
  const tooLong = length > INTERVALS_MAX;
  const answer = useQuery({
    ...query(UsageGroupSeriesDocument, { filter: { ...filter, since, until }, groupBy: by, interval }),
    refetchInterval: REFRESH_MS,
    enabled: !tooLong,
  });
  const earlier = useQuery({
    ...query(UsageGroupSeriesDocument, { filter: { ...filter, ...before }, interval }),
    enabled: !tooLong && !!search.compare,
  });
  const step = STEP_MS[interval];
  const drawn = useMemo(
    () => answer.data && drawnOf(lines(answer.data.usageGroupSeries, since, length, step), by, names),
    [answer.data, since, length, step, by, names],
  );
  const compared = useMemo(() => {
    if (!search.compare || !earlier.data) return undefined;
    return lines(earlier.data.usageGroupSeries, before.since, length, step)[0]?.requests ?? [];
  }, [search.compare, earlier.data, before.since, length, step]);
  const starts = useMemo(
    () => Array.from({ length }, (_, at) => (Date.parse(since) + at * step) / 1000),
    [since, length, step],
  );
  const per = interval.toLowerCase();
  return (
    <Panel
      title="Requests"
      note={`By ${per} and ${DIMENSION_NAMES[by].replace(/^[A-Z](?=[a-z])/, (it) => it.toLowerCase())}. Times are UTC.`}
      flush
      actions={
        <Segments
          label="View"
          items={[
            { label: "Chart", to: paths.usage({ ...search, view: undefined }) },
            { label: "Table", to: paths.usage({ ...search, view: "table" }) },
          ]}
        />
      }
    >
      {tooLong ? (
        <Empty title="Too long a time for a chart">{`A chart by ${per} holds at most ${count(INTERVALS_MAX)} bars. Choose a shorter time or longer intervals.`}</Empty>
      ) : (
        <>
          <Loaded query={answer} lines={7}>
            {() =>
              !drawn || (drawn.length === 0 && sum(compared ?? []) === 0) ? (
                <Empty title="No calls in this stretch of time">
                  {search.until
                    ? "Widen the dates or drop a filter."
                    : "A new call shows here within seconds."}
                </Empty>
              ) : search.view === "table" ? (
                <Numbers starts={starts} drawn={drawn} compared={compared} interval={interval} />
              ) : (
                <Picture starts={starts} drawn={drawn} compared={compared} interval={interval} />
              )
            }
          </Loaded>
          {search.compare && earlier.isError && <NotCompared error={earlier.error} />}
        </>
      )}
    </Panel>
  );
}

type Chart = { starts: number[]; drawn: Drawn[]; compared: number[] | undefined; interval: Interval };

function Picture({ starts, drawn, compared, interval }: Chart) {
  const [at, setAt] = useState<number>();
  const layers = useMemo(
    () => drawn.map(({ label, token, requests }) => ({ label, token, values: requests })),
    [drawn],
  );
  const line = useMemo(
    () =>
      compared && {
        label: "before",
        token: "--ink",
        values: compared.length > 0 ? compared : starts.map(() => 0),
      },
    [compared, starts],
  );
  const of = (requests: readonly number[]) => (at === undefined ? sum(requests) : (requests[at] ?? 0));
  const start = at === undefined ? undefined : starts[at];
  const totals = drawn.map(({ label, total }) => `${count(total)} ${label}`).join(", ");
  return (
    <div className="px-2 pt-1 pb-3">
      <Suspense fallback={<Loading lines={7} />}>
        <Bars
          label={`Bars of requests by ${interval.toLowerCase()}: ${totals}${compared ? `; ${count(sum(compared))} in the time before` : ""}. The table view has the numbers.`}
          starts={starts}
          layers={layers}
          line={line}
          onPoint={setAt}
        />
      </Suspense>
      <ul className="mt-1 flex flex-wrap gap-x-4 gap-y-1 px-3 text-xs text-muted tabular-nums">
        {drawn.map(({ id, label, swatch, requests }) => (
          <li key={id} className="flex min-w-0 items-center gap-1.5">
            <span aria-hidden="true" className={`size-2.5 shrink-0 rounded-xs ${swatch}`} />
            <span className="truncate">{label}</span>{" "}
            <span className="font-medium text-ink">{count(of(requests))}</span>
          </li>
        ))}
        <li>
          all{" "}
          <span className="font-medium text-ink">
            {count(sum(drawn.map(({ requests }) => of(requests))))}
          </span>
        </li>
        {compared && (
          <li className="flex items-center gap-1.5">
            <span aria-hidden="true" className="w-3 border-t-2 border-dashed border-ink" />
            before <span className="font-medium text-ink">{count(of(compared))}</span>
          </li>
        )}
        <li className="ml-auto" aria-hidden={start === undefined}>
          {start !== undefined && minute(new Date(start * 1000).toISOString())}
        </li>
      </ul>
    </div>
  );
}

function Numbers({ starts, drawn, compared, interval }: Chart) {
  const rows = starts
    .map((start, at) => ({
      start,
      requests: drawn.map(({ requests }) => requests[at] ?? 0),
      before: compared?.[at] ?? 0,
    }))
    .filter(({ requests, before }) => sum(requests) + before > 0)
    .reverse();
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is reached by the keyboard
    <section aria-label="Requests as a table" tabIndex={0} className="max-h-96 overflow-y-auto">
      <DataTable
        caption={`Requests by ${interval.toLowerCase()}, the newest first; those without a call are left out`}
        rows={rows}
        rowKey={(row) => String(row.start)}
        columns={[
          {
            header: START[interval],
            cell: (row) => (
              <span className="whitespace-nowrap tabular-nums">
                {minute(new Date(row.start * 1000).toISOString())}
              </span>
            ),
          },
          ...drawn.map(({ id, label }, at) => ({
            header: label,
            id,
            numeric: true,
            cell: (row: (typeof rows)[number]) => count(row.requests[at] ?? 0),
          })),
          { header: ALL, numeric: true, cell: (row) => count(sum(row.requests)) },
          ...(compared
            ? [
                {
                  header: BEFORE,
                  numeric: true,
                  cell: (row: (typeof rows)[number]) => count(row.before),
                },
              ]
            : []),
        ]}
      />
    </section>
  );
}

type Named = {
  apiId?: string | null;
  stage?: string | null;
  route?: string | null;
  apiKeyId?: string | null;
  usagePlanId?: string | null;
  consumerId?: string | null;
  statusClass?: number | null;
};

function groupOf(by: Dimension, row: Named): string | undefined {
  const values: Record<Dimension, string | null | undefined> = {
    API: row.apiId,
    STAGE: row.stage,
    ROUTE: row.route,
    API_KEY: row.apiKeyId,
    USAGE_PLAN: row.usagePlanId,
    CONSUMER: row.consumerId,
    STATUS_CLASS: row.statusClass?.toString(),
  };
  return values[by] ?? undefined;
}

/** The rows with what each is called. */
function labelled<T extends Named>(rows: readonly T[], by: Dimension, names: Names) {
  const groups = rows.map((row) => groupOf(by, row));
  const labels = distinct(groups.map((group) => ({ label: nameOf(by, group, names), id: group })));
  return rows.map((row, at) => ({ ...row, label: labels[at] ?? "" }));
}

function Sums({ filter, stretch, interval, by, search, names }: Explored) {
  const { since, until, soFar } = stretch;
  const answer = useQuery({
    ...query(UsageGroupsDocument, {
      filter: { ...filter, since, until },
      groupBy: [by],
      after: search.groupsAfter,
    }),
    refetchInterval: REFRESH_MS,
  });
  const earlier = useQuery({
    ...query(UsageGroupsBeforeDocument, { filter: { ...filter, ...soFar }, groupBy: [by] }),
    enabled: !!search.compare,
  });
  const before = useMemo(() => {
    const groups = earlier.data?.usageGroups;
    if (!search.compare || !groups) return undefined;
    const known = new Map(groups.nodes.map((row) => [groupOf(by, row), row.requests]));
    // Beyond the hundred that were called most, nobody knows.
    const otherwise = groups.pageInfo.hasNextPage ? undefined : 0;
    return (group: string | undefined) => known.get(group) ?? otherwise;
  }, [search.compare, earlier.data, by]);
  const title = `By ${DIMENSION_NAMES[by].replace(/^[A-Z](?=[a-z])/, (it) => it.toLowerCase())}`;
  return (
    <Panel
      title={title}
      note="Over the whole stretch of time, the most called first."
      flush
      actions={
        <UsageExport asked={{ filter: { ...filter, since }, groupBy: [by], interval }} until={until} />
      }
    >
      <Loaded query={answer} lines={5}>
        {({ usageGroups: { nodes, pageInfo } }) =>
          nodes.length === 0 ? (
            <Empty title="No calls in this stretch of time">Widen the dates or drop a filter.</Empty>
          ) : (
            <>
              <DataTable
                caption={`Usage ${title.toLowerCase()}`}
                rows={labelled(nodes, by, names)}
                rowKey={(row) => `group ${groupOf(by, row) ?? ""}`}
                columns={[
                  {
                    header: DIMENSION_NAMES[by],
                    cell: (row) => <span className="break-words">{row.label}</span>,
                  },
                  { header: "Requests", numeric: true, cell: (row) => count(row.requests) },
                  ...(before
                    ? [
                        {
                          header: "Before",
                          numeric: true,
                          cell: (row: (typeof nodes)[number]) => {
                            const known = before(groupOf(by, row));
                            return known === undefined ? "–" : count(known);
                          },
                        },
                        {
                          header: "Change",
                          numeric: true,
                          cell: (row: (typeof nodes)[number]) => {
                            const known = before(groupOf(by, row));
                            return known === undefined ? "–" : change(row.requests, known);
                          },
                        },
                      ]
                    : []),
                  { header: "Billed", numeric: true, cell: (row) => count(row.billedRequests) },
                  { header: "In", numeric: true, cell: (row) => bytes(row.bytesIn) },
                  { header: "Out", numeric: true, cell: (row) => bytes(row.bytesOut) },
                ]}
              />
              <Pager
                pageInfo={pageInfo}
                after={search.groupsAfter}
                first={paths.usage({ ...search, groupsAfter: undefined })}
                next={(groupsAfter) => paths.usage({ ...search, since, groupsAfter })}
              />
            </>
          )
        }
      </Loaded>
      {search.compare && earlier.isError && <NotCompared error={earlier.error} />}
    </Panel>
  );
}
