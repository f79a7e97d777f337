import { useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { graphql } from "../../api/generated";
import { query } from "../../api/query";
import { Loaded } from "../../components/loaded";
import { Page } from "../../components/page";
import { Pager } from "../../components/pager";
import { StatusClass } from "../../components/status-class";
import { UsageChart } from "../../components/usage-chart";
import { bytes, count, minute } from "../../lib/format";
import { paths, type UsageSearch } from "../../lib/paths";
import { Button } from "../../ui/button";
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
  }
`);

const HOUR_MS = 3_600_000;
/** What is shown when the URL names no beginning. */
const DEFAULT_SPAN_MS = 24 * HOUR_MS;
const SPANS = [
  { label: "1 hour", ms: HOUR_MS },
  { label: "24 hours", ms: DEFAULT_SPAN_MS },
  { label: "7 days", ms: 7 * 24 * HOUR_MS },
  { label: "30 days", ms: 30 * 24 * HOUR_MS },
];

const route = getRouteApi("/tenant/usage");

export function UsagePage() {
  const search = route.useSearch();
  // Fixed while the page is open, so that asking again asks the same.
  const [fallback] = useState(() =>
    new Date(Math.floor(Date.now() / HOUR_MS) * HOUR_MS - DEFAULT_SPAN_MS).toISOString(),
  );
  const { api, stage, apiKey, interval = "HOUR", since = fallback, until, after } = search;
  const usage = useQuery(
    query(UsageDocument, { filter: { interval, since, until, api, stage, apiKey }, after }),
  );
  const names = useQuery(query(UsageNamesDocument)).data;
  const apiNames = new Map(names?.apis.nodes.map((api) => [api.apiId, api.name]));
  const keyNames = new Map(names?.apiKeys.nodes.map((key) => [key.apiKeyId, key.name]));
  return (
    <Page
      title="Usage"
      note="Every counted call, newest first. The bill is made of these rows. Times are UTC."
    >
      <Panel>
        <Filters search={search} since={since} names={names} />
      </Panel>
      <UsageChart
        filter={{ interval, since, until, api, stage, apiKey }}
        view={search.view ?? "chart"}
        links={{
          chart: paths.usage({ ...search, view: undefined }),
          table: paths.usage({ ...search, view: "table" }),
        }}
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
                      header: interval === "HOUR" ? "Hour" : "Minute",
                      cell: (row) => (
                        <span className="whitespace-nowrap tabular-nums">{minute(row.start)}</span>
                      ),
                    },
                    { header: "API", cell: (row) => apiNames.get(row.apiId) ?? row.apiId },
                    {
                      header: "Stage",
                      cell: (row) => <code className="font-mono text-xs">{row.stage}</code>,
                    },
                    {
                      header: "Route",
                      cell: (row) => <code className="font-mono text-xs whitespace-nowrap">{row.route}</code>,
                    },
                    {
                      header: "Key",
                      cell: (row) =>
                        row.apiKeyId ? (
                          (keyNames.get(row.apiKeyId) ?? row.apiKeyId)
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

type Names = {
  apis: { nodes: readonly { id: string; name: string; stages: { nodes: readonly { name: string }[] } }[] };
  apiKeys: { nodes: readonly { id: string; name: string }[] };
};

/** Each filter is a part of the URL: a view can be bookmarked and sent to someone. */
function Filters({ search, since, names }: { search: UsageSearch; since: string; names: Names | undefined }) {
  const navigate = useNavigate();
  const set = (change: Partial<UsageSearch>) =>
    void navigate({ ...paths.usage({ ...search, ...change, after: undefined }), replace: true });
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
              {api.name}
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
              {key.name}
            </option>
          ))}
        </SelectField>
        <SelectField
          label="Rows by"
          value={search.interval ?? "HOUR"}
          onChange={(event) => set({ interval: event.target.value === "MINUTE" ? "MINUTE" : undefined })}
        >
          <option value="HOUR">Hour</option>
          <option value="MINUTE">Minute</option>
        </SelectField>
        <TextField
          label="Since"
          type="datetime-local"
          value={since.slice(0, 16)}
          onChange={(event) => event.target.value && set({ since: `${event.target.value}:00.000Z` })}
        />
        <TextField
          label="Until"
          type="datetime-local"
          value={search.until?.slice(0, 16) ?? ""}
          onChange={(event) =>
            set({ until: event.target.value ? `${event.target.value}:00.000Z` : undefined })
          }
        />
        <fieldset className="col-span-2 flex flex-wrap items-end gap-1.5">
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
