import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { useLive } from "../api/live";
import { count, floorToMinute } from "../lib/format";
import { Panel } from "../ui/panel";
import { LiveBadge } from "./live-badge";
import { UsageSeriesDocument } from "./usage-chart";

const UsageLiveDocument = graphql(`
  subscription UsageLive {
    usage { minutes { start apiId stage requests clientErrors serverErrors } }
  }
`);

/** What "now" means: this minute and the two before. */
const NOW_MINUTES = 3;
const POLL_MS = 5000;

type Minute = {
  start: string;
  apiId: string;
  stage: string;
  requests: number;
  clientErrors: number;
  serverErrors: number;
};

const beginning = () => floorToMinute(Date.now() - (NOW_MINUTES - 1) * 60_000);

/** Calls of the last three minutes, as they are counted. */
export function RightNow() {
  const [minutes, setMinutes] = useState<ReadonlyMap<string, Minute>>(new Map());
  const live = useLive(UsageLiveDocument, {}, ({ usage }) =>
    setMinutes((were) => {
      const since = Date.parse(beginning());
      const all = new Map(were);
      for (const row of usage.minutes) all.set(`${row.start} ${row.apiId} ${row.stage}`, row);
      for (const [key, { start }] of all) if (Date.parse(start) < since) all.delete(key);
      return all;
    }),
  );
  const asked = useQuery({
    queryKey: ["right now"],
    queryFn: () => request(UsageSeriesDocument, { filter: { interval: "MINUTE", since: beginning() } }),
    refetchInterval: POLL_MS,
    enabled: live === "down",
  });
  const sum = (of: (row: Minute) => number) => [...minutes.values()].reduce((all, row) => all + of(row), 0);
  const points = asked.data?.usageSeries ?? [];
  const sumOf = (statusClass?: number) =>
    points
      .filter((point) => statusClass === undefined || point.statusClass === statusClass)
      .reduce((all, { requests }) => all + requests, 0);
  const numbers =
    live !== "down"
      ? [sum((row) => row.requests), sum((row) => row.clientErrors), sum((row) => row.serverErrors)]
      : [sumOf(), sumOf(4), sumOf(5)];
  const names = ["Requests", "Answered 4xx", "Answered 5xx"];
  return (
    <Panel
      title="Right now"
      note="The last three minutes, as calls are counted."
      actions={<LiveBadge live={live} everyMs={POLL_MS} />}
    >
      <dl className="grid grid-cols-3 gap-4">
        {names.map((name, at) => (
          <div key={name} className="flex flex-col-reverse justify-end">
            <dt className="text-xs text-muted">{name}</dt>
            <dd className="text-2xl font-semibold tracking-tight tabular-nums">{count(numbers[at] ?? 0)}</dd>
          </div>
        ))}
      </dl>
    </Panel>
  );
}
