import { useMutation, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { ArrowRight, Check } from "lucide-react";
import { useState } from "react";
import { requestIdOf, sentence } from "../api/errors";
import { graphql } from "../api/generated";
import type { OverviewQuery } from "../api/generated/graphql";
import { query, refreshAll } from "../api/query";
import { createSample } from "../components/create-sample";
import { DraftBadge } from "../components/deployment-status";
import { Loaded } from "../components/loaded";
import { Page } from "../components/page";
import { RightNow } from "../components/right-now";
import { StatusClass } from "../components/status-class";
import { UsageChart } from "../components/usage-chart";
import { useMay } from "../components/viewer";
import { count, floorToHour, floorToMinute, minute, money, month, time } from "../lib/format";
import { paths } from "../lib/paths";
import { Button, ButtonLink } from "../ui/button";
import { Empty, Panel } from "../ui/panel";
import { Segments } from "../ui/segments";
import { DataTable } from "../ui/table";
import { toast } from "../ui/toast";

const OverviewDocument = graphql(`
  query Overview($since: DateTime!, $withBill: Boolean!) {
    apis(first: 5) {
      nodes {
        id apiId name pendingChanges
        routes(first: 1) { nodes { id } }
        stages(first: 5) { nodes { id name deployment { id } } }
      }
    }
    usagePlans(first: 1) { nodes { id } }
    apiKeys(first: 1) { nodes { id } }
    usage(filter: { interval: MINUTE, since: $since }, first: 6) {
      nodes { start apiId stage route apiKeyId statusClass requests }
    }
    bill @include(if: $withBill) { month currency total }
  }
`);

/** How far back "recent calls" looks, and how often. */
const RECENT_MS = 24 * 3_600_000;
const REFRESH_MS = 5000;

export function OverviewPage() {
  const may = useMay();
  const [since] = useState(() => floorToMinute(Date.now() - RECENT_MS));
  const overview = useQuery({
    ...query(OverviewDocument, { since, withBill: may("readBilling") }),
    refetchInterval: REFRESH_MS,
  });
  return (
    <Page title="Overview">
      <Loaded query={overview} lines={10}>
        {(data) => (
          <>
            {may("manageApis") && <Checklist data={data} />}
            {data.usage.nodes.length > 0 && <Requests />}
            <div className="grid grid-cols-1 items-start gap-5 lg:grid-cols-[minmax(0,1fr)_20rem]">
              <RecentCalls data={data} />
              <div className="flex flex-col gap-5">
                {data.usage.nodes.length > 0 && <RightNow />}
                {data.bill && <BillSoFar bill={data.bill} />}
                <Apis apis={data.apis.nodes} />
              </div>
            </div>
          </>
        )}
      </Loaded>
    </Page>
  );
}

const route = getRouteApi("/tenant/");

const RANGES = [
  { label: "24 hours", range: undefined, ms: RECENT_MS },
  { label: "7 days", range: "7d", ms: 7 * RECENT_MS },
  { label: "30 days", range: "30d", ms: 30 * RECENT_MS },
] as const;

function Requests() {
  const search = route.useSearch();
  const { ms } = RANGES.find(({ range }) => range === search.range) ?? RANGES[0];
  const [opened] = useState(() => Date.now());
  return (
    <UsageChart
      filter={{ interval: "HOUR", since: floorToHour(opened - ms) }}
      view={search.view ?? "chart"}
      links={{
        chart: paths.overview({ ...search, view: undefined }),
        table: paths.overview({ ...search, view: "table" }),
      }}
      ranges={
        <Segments
          label="Stretch of time"
          items={RANGES.map(({ label, range }) => ({
            label,
            to: paths.overview({ ...search, range }),
          }))}
        />
      }
    />
  );
}

/** The steps to the first call, ticked as they are done; gone once a call has come. */
function Checklist({ data }: { data: OverviewQuery }) {
  const apis = data.apis.nodes;
  const first = apis[0];
  const key = data.apiKeys.nodes[0];
  const steps = [
    { label: "Create an API", done: apis.length > 0, to: paths.newApi() },
    {
      label: "Add a route",
      done: apis.some((api) => api.routes.nodes.length > 0),
      to: first ? paths.api(first.id) : paths.newApi(),
    },
    {
      label: "Deploy it to a stage",
      done: apis.some((api) => api.stages.nodes.some((stage) => stage.deployment)),
      to: first ? paths.api(first.id) : paths.newApi(),
    },
    { label: "Create a usage plan", done: data.usagePlans.nodes.length > 0, to: paths.newUsagePlan() },
    { label: "Issue an API key", done: !!key, to: paths.newApiKey() },
    { label: "Make the first call", done: false, to: key ? paths.firstRequest(key.id) : paths.newApiKey() },
  ];
  const navigate = useNavigate();
  const sample = useMutation({
    mutationFn: createSample,
    onSuccess: async (apiKey) => {
      await navigate(paths.firstRequest(apiKey));
      await refreshAll();
    },
    onError: async (error) => {
      toast(sentence(error), "bad", requestIdOf(error));
      await refreshAll();
    },
  });
  if (data.usage.nodes.length > 0) return null;
  const next = steps.findIndex((step) => !step.done);
  return (
    <Panel
      title="From nothing to the first call"
      note="Six steps, about two minutes. Or let us make a sample to look at."
      actions={
        apis.length === 0 && (
          <Button look="primary" busy={sample.isPending} onClick={() => sample.mutate()}>
            Create a sample API
          </Button>
        )
      }
    >
      <ol className="grid grid-cols-1 gap-2 sm:grid-cols-2 lg:grid-cols-3">
        {steps.map((step, at) => (
          <li key={step.label}>
            <Link
              {...step.to}
              className={`flex h-11 items-center gap-3 rounded-lg border px-3.5 transition-colors hover:bg-sunken ${
                at === next ? "border-accent bg-accent-soft" : "border-line"
              }`}
            >
              <span
                className={`inline-flex size-5 items-center justify-center rounded-full text-2xs font-semibold ${
                  step.done ? "bg-accent text-on-accent" : "border border-line-strong text-muted"
                }`}
              >
                {step.done ? <Check size={12} aria-hidden="true" /> : at + 1}
              </span>
              <span className={step.done ? "text-muted" : "font-medium"}>
                {step.label}
                {step.done && <span className="sr-only"> (done)</span>}
              </span>
              {at === next && <ArrowRight size={14} aria-hidden="true" className="ml-auto text-accent" />}
            </Link>
          </li>
        ))}
      </ol>
    </Panel>
  );
}

function RecentCalls({ data }: { data: OverviewQuery }) {
  const names = new Map(data.apis.nodes.map((api) => [api.apiId, api.name]));
  return (
    <Panel
      title="Recent calls"
      note="By route and minute, in the last 24 hours."
      flush
      actions={<ButtonLink {...paths.usage()}>All usage</ButtonLink>}
    >
      {data.usage.nodes.length === 0 ? (
        <Empty title="No calls yet">They show here within seconds of being answered.</Empty>
      ) : (
        <DataTable
          caption="Recent calls"
          rows={data.usage.nodes}
          rowKey={(row) =>
            [row.start, row.apiId, row.stage, row.route, row.apiKeyId, row.statusClass].join(" ")
          }
          columns={[
            { header: "Route", cell: (row) => <code className="font-mono text-xs">{row.route}</code> },
            {
              header: "API",
              cell: (row) => (
                <span className="whitespace-nowrap">{`${names.get(row.apiId) ?? row.apiId} / ${row.stage}`}</span>
              ),
            },
            { header: "Status", cell: (row) => <StatusClass value={row.statusClass} /> },
            { header: "Requests", numeric: true, cell: (row) => count(row.requests) },
            {
              header: "Minute",
              numeric: true,
              cell: (row) => <span title={minute(row.start)}>{time(row.start)}</span>,
            },
          ]}
        />
      )}
    </Panel>
  );
}

function BillSoFar({ bill }: { bill: NonNullable<OverviewQuery["bill"]> }) {
  return (
    <Panel title={month(bill.month)} actions={<ButtonLink {...paths.billing()}>Bill</ButtonLink>}>
      <p className="text-xs text-muted">Bill so far</p>
      <p className="text-2xl font-semibold tracking-tight tabular-nums">{money(bill.total, bill.currency)}</p>
    </Panel>
  );
}

function Apis({ apis }: { apis: OverviewQuery["apis"]["nodes"] }) {
  return (
    <Panel title="APIs" flush actions={<ButtonLink {...paths.apis()}>All APIs</ButtonLink>}>
      {apis.length === 0 ? (
        <p className="p-4 text-muted">None yet.</p>
      ) : (
        <ul>
          {apis.map((api) => (
            <li key={api.id} className="flex items-center gap-3 border-line px-4 py-2.5 not-first:border-t">
              <Link
                {...paths.api(api.id)}
                className="min-w-0 flex-1 truncate font-medium hover:text-accent hover:underline"
              >
                {api.name}
              </Link>
              <DraftBadge
                pendingChanges={api.pendingChanges}
                deployed={api.stages.nodes.some((stage) => stage.deployment)}
              />
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}
