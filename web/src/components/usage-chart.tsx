import { useQuery } from "@tanstack/react-query";
import type { LinkProps } from "@tanstack/react-router";
import { lazy, Suspense, useMemo, useState } from "react";
import { graphql } from "../api/generated";
import type { UsageFilter } from "../api/generated/graphql";
import { query } from "../api/query";
import { count, minute, statusClass } from "../lib/format";
import { type Series, series, sum } from "../lib/series";
import { STEP_MS } from "../lib/stretch";
import { Empty, Loading, Panel } from "../ui/panel";
import { Segments } from "../ui/segments";
import { DataTable } from "../ui/table";
import { Loaded } from "./loaded";

const Bars = lazy(() => import("../ui/bars"));

export const UsageSeriesDocument = graphql(`
  query UsageSeries($filter: UsageFilter!) {
    usageSeries(filter: $filter) { start statusClass requests }
  }
`);

/** The server's bound on one series. */
const INTERVALS_MAX = 1500;
const REFRESH_MS = 15_000;

const TOKENS: Record<number, string> = { 2: "--ok", 3: "--line-strong", 4: "--warn", 5: "--bad" };
const token = (value: number) => TOKENS[value] ?? "--muted";

export type ChartView = "chart" | "table";

/** Requests over time by status class, as a picture or as a table. */
export function UsageChart({
  filter,
  view,
  links,
  ranges,
}: {
  filter: UsageFilter & { since: string; until?: string | undefined };
  view: ChartView;
  /** Where each view stands in the URL. */
  links: Record<ChartView, LinkProps>;
  /** A choice of stretches of time, shown before the views. */
  ranges?: React.ReactNode;
}) {
  const interval = filter.interval ?? "HOUR";
  const stepMs = STEP_MS[interval];
  const [opened] = useState(() => Date.now());
  const span = (filter.until ? Date.parse(filter.until) : opened) - Date.parse(filter.since);
  const tooLong = span / stepMs > INTERVALS_MAX - 1;
  const answer = useQuery({
    ...query(UsageSeriesDocument, { filter: { ...filter, interval } }),
    refetchInterval: REFRESH_MS,
    enabled: !tooLong,
  });
  const { data, dataUpdatedAt } = answer;
  const until = filter.until ? Date.parse(filter.until) : dataUpdatedAt;
  const end = Math.ceil(until / stepMs) * stepMs;
  const drawn = useMemo(
    () => data && series(data.usageSeries, filter.since, end, stepMs),
    [data, filter.since, end, stepMs],
  );
  const per = interval.toLowerCase();
  return (
    <Panel
      title="Requests"
      note={`By ${per} and status class. Times are UTC.`}
      flush
      actions={
        <div className="flex flex-wrap gap-2">
          {ranges}
          <Segments
            label="View"
            items={[
              { label: "Chart", to: links.chart },
              { label: "Table", to: links.table },
            ]}
          />
        </div>
      }
    >
      {tooLong ? (
        <Empty title="Too long a time for a chart">{`A chart by ${per} holds at most ${count(INTERVALS_MAX)} bars. Choose a shorter time.`}</Empty>
      ) : (
        <Loaded query={answer} lines={7}>
          {() =>
            !drawn || drawn.classes.length === 0 ? (
              <Empty title="No calls in this stretch of time">A new call shows here within seconds.</Empty>
            ) : view === "chart" ? (
              <Picture drawn={drawn} per={per} />
            ) : (
              <Numbers drawn={drawn} per={per} />
            )
          }
        </Loaded>
      )}
    </Panel>
  );
}

function Picture({ drawn: { starts, classes }, per }: { drawn: Series; per: string }) {
  const [at, setAt] = useState<number>();
  const layers = useMemo(
    () =>
      classes.map((it) => ({
        label: statusClass(it.statusClass),
        token: token(it.statusClass),
        values: it.requests,
      })),
    [classes],
  );
  const start = at === undefined ? undefined : starts[at];
  const shown = classes.map(({ statusClass, requests }) => ({
    statusClass,
    requests: start === undefined ? sum(requests) : (requests[at ?? 0] ?? 0),
  }));
  const all = sum(shown.map(({ requests }) => requests));
  const totals = classes.map((it) => `${count(sum(it.requests))} ${statusClass(it.statusClass)}`).join(", ");
  return (
    <div className="px-2 pt-1 pb-3">
      <Suspense fallback={<Loading lines={7} />}>
        <Bars
          label={`Bars of requests by ${per}: ${totals}. The table view has the numbers.`}
          starts={starts}
          layers={layers}
          onPoint={setAt}
        />
      </Suspense>
      <ul className="mt-1 flex flex-wrap gap-x-4 gap-y-1 px-3 text-xs text-muted tabular-nums">
        {shown.map((it) => (
          <li key={it.statusClass} className="flex items-center gap-1.5">
            <Swatch value={it.statusClass} />
            {statusClass(it.statusClass)} <span className="font-medium text-ink">{count(it.requests)}</span>
          </li>
        ))}
        <li>
          all <span className="font-medium text-ink">{count(all)}</span>
        </li>
        <li className="ml-auto" aria-hidden={start === undefined}>
          {start !== undefined && minute(new Date(start * 1000).toISOString())}
        </li>
      </ul>
    </div>
  );
}

const SWATCHES: Record<number, string> = { 2: "bg-ok", 3: "bg-line-strong", 4: "bg-warn", 5: "bg-bad" };

function Swatch({ value }: { value: number }) {
  return <span aria-hidden="true" className={`size-2.5 rounded-xs ${SWATCHES[value] ?? "bg-muted"}`} />;
}

function Numbers({ drawn: { starts, classes }, per }: { drawn: Series; per: string }) {
  const rows = starts
    .map((start, at) => ({ start, requests: classes.map(({ requests }) => requests[at] ?? 0) }))
    .filter(({ requests }) => sum(requests) > 0)
    .reverse();
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is reached by the keyboard
    <section aria-label="Requests as a table" tabIndex={0} className="max-h-96 overflow-y-auto">
      <DataTable
        caption={`Requests by ${per}, the newest first; those without a call are left out`}
        rows={rows}
        rowKey={(row) => String(row.start)}
        columns={[
          {
            header: per.replace(/^./, (it) => it.toUpperCase()),
            cell: (row) => (
              <span className="whitespace-nowrap tabular-nums">
                {minute(new Date(row.start * 1000).toISOString())}
              </span>
            ),
          },
          ...classes.map(({ statusClass: value }, at) => ({
            header: statusClass(value),
            numeric: true,
            cell: (row: (typeof rows)[number]) => count(row.requests[at] ?? 0),
          })),
          { header: "All", numeric: true, cell: (row) => count(sum(row.requests)) },
        ]}
      />
    </section>
  );
}
