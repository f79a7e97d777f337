import { useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useEffect, useMemo, useState } from "react";
import { graphql } from "../../api/generated";
import { query } from "../../api/query";
import { Loaded } from "../../components/loaded";
import { Page } from "../../components/page";
import { Pager } from "../../components/pager";
import { StatusClass } from "../../components/status-class";
import { TextFilter } from "../../components/text-filter";
import { DIMENSION_NAMES, UsageExplorer } from "../../components/usage-explorer";
import { bytes, count, minute, statusClass } from "../../lib/format";
import { namesOf } from "../../lib/labels";
import { type Dimension, type Interval, paths, type UsageSearch } from "../../lib/paths";
import { stretches } from "../../lib/stretch";
import { Button, ButtonLink } from "../../ui/button";
import { SelectField, TextField } from "../../ui/field";
import { Empty, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";

const UsageDocument = graphql(`
  query Usage($filter: UsageFilter!, $after: String) {
    usage(filter: $filter, first: 50, after: $after) {
      nodes {
        start apiId stage route apiKeyId usagePlanId statusClass
        requests billedRequests bytesIn bytesOut
      }
      pageInfo { hasNextPage hasPreviousPage endCursor }
    }
  }
`);

const UsageNamesDocument = graphql(`
  query UsageNames {
    apis(first: 50) { nodes { id apiId name stages(first: 20) { nodes { id name } } } }
    apiKeys(first: 100) { nodes { id apiKeyId name } }
    usagePlans(first: 100) { nodes { id usagePlanId name } }
    consumers(first: 100) { nodes { id consumerId name } }
  }
`);

const REFRESH_MS = 10_000;
const HOUR_MS = 3_600_000;
/** What is shown when the URL names no beginning. */
const DEFAULT_SPAN_MS = 24 * HOUR_MS;
const SPANS = [
  { label: "1 hour", ms: HOUR_MS },
  { label: "24 hours", ms: DEFAULT_SPAN_MS },
  { label: "7 days", ms: 7 * 24 * HOUR_MS },
  { label: "30 days", ms: 30 * 24 * HOUR_MS },
  { label: "1 year", ms: 365 * 24 * HOUR_MS },
];

const route = getRouteApi("/tenant/usage");

export function UsagePage() {
  const search = route.useSearch();
  // Fixed while the page is open, so that asking again asks the same.
  const [fallback] = useState(() =>
    new Date(Math.floor(Date.now() / HOUR_MS) * HOUR_MS - DEFAULT_SPAN_MS).toISOString(),
  );
  const { api, stage, route: path, apiKey, usagePlan, consumer, status, interval = "HOUR" } = search;
  const { since = fallback, until, after, by = "STATUS_CLASS" } = search;
  const filter = { api, stage, route: path, apiKey, usagePlan, consumer, statusClass: status };
  const usage = useQuery({
    ...query(UsageDocument, { filter: { ...filter, interval, since, until }, after }),
    refetchInterval: REFRESH_MS,
  });
  const now = useMinutes();
  const names = useQuery(query(UsageNamesDocument)).data;
  const allNames = useMemo(
    () =>
      new Map([
        ...namesOf((names?.apis.nodes ?? []).map((it) => ({ id: it.apiId, label: it.name }))),
        ...namesOf((names?.apiKeys.nodes ?? []).map((it) => ({ id: it.apiKeyId, label: it.name }))),
        ...namesOf((names?.usagePlans.nodes ?? []).map((it) => ({ id: it.usagePlanId, label: it.name }))),
        ...namesOf((names?.consumers.nodes ?? []).map((it) => ({ id: it.consumerId, label: it.name }))),
      ]),
    [names],
  );
  return (
    <Page
      title="Usage"
      note="Every counted call, newest first. The bill is made of these rows. Times are UTC."
      actions={<ButtonLink {...paths.reconciliations()}>Reconciliation</ButtonLink>}
    >
      <Panel>
        <Filters search={search} since={since} names={names} called={allNames} />
      </Panel>
      <UsageExplorer
        filter={filter}
        stretch={stretches({ since, until }, interval, now)}
        interval={interval}
        by={by}
        search={search}
        names={allNames}
      />
      <Panel title="Rows" note="By route, key and status class." flush>
        <Loaded query={usage} lines={10}>
          {({ usage: { nodes, pageInfo } }) =>
            nodes.length === 0 ? (
              <Empty title="No calls in this stretch of time">
                Widen the dates or drop a filter. A new call shows here within seconds.
              </Empty>
            ) : (
              <>
                <DataTable
                  caption="Usage"
                  rows={nodes}
                  rowKey={(row) =>
                    [
                      row.start,
                      row.apiId,
                      row.stage,
                      row.route,
                      row.apiKeyId,
                      row.usagePlanId,
                      row.statusClass,
                    ].join(" ")
                  }
                  columns={[
                    {
                      header: { MINUTE: "Minute", HOUR: "Hour", DAY: "Day" }[interval],
                      cell: (row) => (
                        <span className="whitespace-nowrap tabular-nums">{minute(row.start)}</span>
                      ),
                    },
                    { header: "API", cell: (row) => allNames.get(row.apiId) ?? row.apiId },
                    {
                      header: "Stage",
                      cell: (row) => <code className="font-mono text-xs">{row.stage}</code>,
                    },
                    {
                      header: "Route",
                      cell: (row) => <code className="font-mono text-xs break-words">{row.route}</code>,
                    },
                    {
                      header: "Key",
                      cell: (row) =>
                        row.apiKeyId ? (
                          (allNames.get(row.apiKeyId) ?? row.apiKeyId)
                        ) : (
                          <span className="text-muted">none</span>
                        ),
                    },
                    { header: "Status", cell: (row) => <StatusClass value={row.statusClass} /> },
                    { header: "Requests", numeric: true, cell: (row) => count(row.requests) },
                    { header: "Billed", numeric: true, cell: (row) => count(row.billedRequests) },
                    { header: "In", numeric: true, cell: (row) => bytes(row.bytesIn) },
                    { header: "Out", numeric: true, cell: (row) => bytes(row.bytesOut) },
                  ]}
                />
                <Pager
                  pageInfo={pageInfo}
                  after={after}
                  first={paths.usage({ ...search, after: undefined })}
                  next={(after) => paths.usage({ ...search, since, after })}
                />
              </>
            )
          }
        </Loaded>
      </Panel>
    </Page>
  );
}

/** Now, to the minute: the stretch of time grows while the page is open. */
function useMinutes(): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const ticks = setInterval(() => setNow(Date.now()), 60_000);
    return () => clearInterval(ticks);
  }, []);
  return now;
}

type Names = {
  apis: { nodes: readonly { id: string; apiId: string; stages: { nodes: readonly { name: string }[] } }[] };
  apiKeys: { nodes: readonly { id: string; apiKeyId: string }[] };
  usagePlans: { nodes: readonly { id: string; usagePlanId: string }[] };
  consumers: { nodes: readonly { id: string; consumerId: string }[] };
};

/** Each filter is a part of the URL: a view can be bookmarked and sent to someone. */
function Filters({
  search,
  since,
  names,
  called,
}: {
  search: UsageSearch;
  since: string;
  names: Names | undefined;
  /** What ids are called. */
  called: ReadonlyMap<string, string>;
}) {
  const navigate = useNavigate();
  const set = (change: Partial<UsageSearch>) =>
    void navigate({
      ...paths.usage({ ...search, ...change, after: undefined, groupsAfter: undefined }),
      replace: true,
    });
  const apis = names?.apis.nodes ?? [];
  const stages = new Set(
    apis
      .filter(({ id }) => !search.api || id === search.api)
      .flatMap((api) => api.stages.nodes.map(({ name }) => name)),
  );
  return (
    <search className="flex flex-col gap-3">
      <div className="grid grid-cols-2 gap-3 md:grid-cols-4">
        <SelectField
          label="API"
          value={search.api ?? ""}
          onChange={(event) => set({ api: event.target.value || undefined, stage: undefined })}
        >
          <option value="">All</option>
          {apis.map((api) => (
            <option key={api.id} value={api.id}>
              {called.get(api.apiId)}
            </option>
          ))}
        </SelectField>
        <SelectField
          label="Stage"
          value={search.stage ?? ""}
          onChange={(event) => set({ stage: event.target.value || undefined })}
        >
          <option value="">All</option>
          {[...stages].map((stage) => (
            <option key={stage}>{stage}</option>
          ))}
        </SelectField>
        <SelectField
          label="API key"
          value={search.apiKey ?? ""}
          onChange={(event) => set({ apiKey: event.target.value || undefined })}
        >
          <option value="">All</option>
          {names?.apiKeys.nodes.map((key) => (
            <option key={key.id} value={key.id}>
              {called.get(key.apiKeyId)}
            </option>
          ))}
        </SelectField>
        <SelectField
          label="Rows by"
          value={search.interval ?? "HOUR"}
          onChange={(event) =>
            set({ interval: event.target.value === "HOUR" ? undefined : (event.target.value as Interval) })
          }
        >
          <option value="MINUTE">Minute</option>
          <option value="HOUR">Hour</option>
          <option value="DAY">Day</option>
        </SelectField>
        <SelectField
          label="Usage plan"
          value={search.usagePlan ?? ""}
          onChange={(event) => set({ usagePlan: event.target.value || undefined })}
        >
          <option value="">All</option>
          {names?.usagePlans.nodes.map((plan) => (
            <option key={plan.id} value={plan.id}>
              {called.get(plan.usagePlanId)}
            </option>
          ))}
        </SelectField>
        <SelectField
          label="Consumer"
          value={search.consumer ?? ""}
          onChange={(event) => set({ consumer: event.target.value || undefined })}
        >
          <option value="">All</option>
          {names?.consumers.nodes.map((consumer) => (
            <option key={consumer.id} value={consumer.id}>
              {called.get(consumer.consumerId)}
            </option>
          ))}
        </SelectField>
        <SelectField
          label="Status"
          value={search.status ?? ""}
          onChange={(event) => set({ status: event.target.value ? Number(event.target.value) : undefined })}
        >
          <option value="">All</option>
          {[2, 3, 4, 5, 1, 0].map((value) => (
            <option key={value} value={value}>
              {statusClass(value)}
            </option>
          ))}
        </SelectField>
        <TextFilter
          key={search.route ?? ""}
          label="Route"
          value={search.route ?? ""}
          onSet={(route) => set({ route })}
        />
        <SelectField
          label="Group by"
          value={search.by ?? "STATUS_CLASS"}
          onChange={(event) => {
            const by = event.target.value as Dimension;
            set({ by: by === "STATUS_CLASS" ? undefined : by });
          }}
        >
          {Object.entries(DIMENSION_NAMES).map(([dimension, name]) => (
            <option key={dimension} value={dimension}>
              {name}
            </option>
          ))}
        </SelectField>
        <SelectField
          label="Compare with"
          value={search.compare ? "before" : ""}
          onChange={(event) => set({ compare: event.target.value === "before" ? true : undefined })}
        >
          <option value="">Nothing</option>
          <option value="before">Time before</option>
        </SelectField>
        <div className="max-sm:col-span-2">
          <TextField
            label="Since"
            type="datetime-local"
            value={since.slice(0, 16)}
            onChange={(event) => event.target.value && set({ since: `${event.target.value}:00.000Z` })}
          />
        </div>
        <div className="max-sm:col-span-2">
          <TextField
            label="Until"
            type="datetime-local"
            value={search.until?.slice(0, 16) ?? ""}
            onChange={(event) =>
              set({ until: event.target.value ? `${event.target.value}:00.000Z` : undefined })
            }
          />
        </div>
        <fieldset className="col-span-2 flex md:col-span-4 flex-wrap items-end gap-1.5">
          <legend className="sr-only">Since this long ago</legend>
          {SPANS.map(({ label, ms }) => (
            <Button
              key={label}
              look="quiet"
              onClick={() =>
                set({
                  since: new Date(Math.floor((Date.now() - ms) / 60_000) * 60_000).toISOString(),
                  until: undefined,
                })
              }
            >
              {label}
            </Button>
          ))}
          <Button look="quiet" onClick={() => void navigate({ ...paths.usage(), replace: true })}>
            Reset
          </Button>
        </fieldset>
      </div>
    </search>
  );
}
