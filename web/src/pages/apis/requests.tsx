import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { request } from "../../api/client";
import { graphql } from "../../api/generated";
import type { RequestsLiveSubscription } from "../../api/generated/graphql";
import { useLive } from "../../api/live";
import { query } from "../../api/query";
import { LiveBadge } from "../../components/live-badge";
import { Loaded } from "../../components/loaded";
import { StatusClass } from "../../components/status-class";
import { bytes, count, floorToMinute, milliseconds, second, time } from "../../lib/format";
import { paths, type RequestsSearch } from "../../lib/paths";
import { Badge } from "../../ui/badge";
import { Button, ButtonLink } from "../../ui/button";
import { CopyText } from "../../ui/copy";
import { SelectField } from "../../ui/field";
import { Empty, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";
import { ApiDocument } from "./api";

const RequestsLiveDocument = graphql(`
  subscription RequestsLive($apiId: ID!, $stage: String, $statusClass: Int) {
    requests(apiId: $apiId, stage: $stage, statusClass: $statusClass) {
      dropped
      requests {
        requestId startedAt stage method path status code durationMs bytesOut aborted throttledBy shadowThrottledBy
        apiKey { id name }
      }
    }
  }
`);

const RequestsCountedDocument = graphql(`
  query RequestsCounted($filter: UsageFilter!) {
    usage(filter: $filter, first: 50) {
      nodes { start stage route statusClass requests bytesOut apiKeyId }
    }
  }
`);

/** How many requests stay on the page. */
const KEPT_MAX = 100;
const POLL_MS = 5000;
/** How far back calls are counted where the live connection is down. */
const COUNTED_MS = 15 * 60_000;
const CLASSES = [2, 3, 4, 5] as const;

type Watched = RequestsLiveSubscription["requests"]["requests"][number];

const route = getRouteApi("/tenant/apis/$api/requests");

/** An API's requests as they end, on every node; by the minute where the live connection is down. */
export function RequestsPage() {
  const { api } = route.useParams();
  const search = route.useSearch();
  return (
    <>
      <Panel>
        <Filters api={api} search={search} />
      </Panel>
      {/* Other filters watch anew. */}
      <Requests key={`${search.stage} ${search.status}`} api={api} search={search} />
    </>
  );
}

function Filters({ api, search }: { api: string; search: RequestsSearch }) {
  const navigate = useNavigate();
  const node = useQuery(query(ApiDocument, { id: api })).data?.node;
  const stages = node?.__typename === "Api" ? node.stages.nodes.map(({ name }) => name) : [];
  // An address may name what this list does not.
  if (search.stage && !stages.includes(search.stage)) stages.push(search.stage);
  return (
    <search className="grid grid-cols-2 items-end gap-3 md:grid-cols-3">
      <SelectField
        label="Stage"
        value={search.stage ?? ""}
        onChange={({ target: { value } }) => {
          const { stage: _, ...rest } = search;
          void navigate({ ...paths.requests(api, value ? { ...rest, stage: value } : rest), replace: true });
        }}
      >
        <option value="">Any</option>
        {stages.map((stage) => (
          <option key={stage} value={stage}>
            {stage}
          </option>
        ))}
      </SelectField>
      <SelectField
        label="Status"
        value={search.status ?? ""}
        onChange={({ target: { value } }) => {
          const { status: _, ...rest } = search;
          const status = CLASSES.find((one) => `${one}` === value);
          void navigate({ ...paths.requests(api, status ? { ...rest, status } : rest), replace: true });
        }}
      >
        <option value="">Any</option>
        {CLASSES.map((status) => (
          <option key={status} value={status}>{`${status}xx`}</option>
        ))}
      </SelectField>
    </search>
  );
}

function Requests({ api, search: { stage, status } }: { api: string; search: RequestsSearch }) {
  const [kept, setKept] = useState<readonly Watched[]>([]);
  const [dropped, setDropped] = useState(0);
  const [paused, setPaused] = useState(false);
  const variables = { apiId: api, ...(stage ? { stage } : {}), ...(status ? { statusClass: status } : {}) };
  const live = useLive(
    RequestsLiveDocument,
    variables,
    ({ requests: batch }) => {
      setKept((were) => [...batch.requests.toReversed(), ...were].slice(0, KEPT_MAX));
      setDropped((were) => were + batch.dropped);
    },
    !paused,
  );
  const clear = () => {
    setKept([]);
    setDropped(0);
  };
  return (
    <Panel
      title="Requests"
      note={`The newest ${KEPT_MAX}, as they end. Each node shows at most 100 a second.`}
      flush
      actions={
        <>
          <ButtonLink {...paths.explanation()}>Why was it limited?</ButtonLink>
          {paused ? <Badge>Paused</Badge> : <LiveBadge live={live} everyMs={POLL_MS} />}
          <Button onClick={() => setPaused(!paused)}>{paused ? "Go on" : "Pause"}</Button>
          <Button onClick={clear} disabled={kept.length === 0}>
            Clear
          </Button>
        </>
      }
    >
      {dropped > 0 && (
        <p className="border-b border-line px-4 py-2 text-xs text-muted">
          {`${count(dropped)} more ${dropped === 1 ? "request was" : "requests were"} not shown.`}
        </p>
      )}
      {live === "down" && !paused ? (
        <Counted api={api} stage={stage} status={status} />
      ) : kept.length === 0 ? (
        <Empty title={paused ? "Nothing was seen" : "Waiting for a request"}>
          Requests from now on are shown here, within a second of their end. Those before are counted under
          Usage.
        </Empty>
      ) : (
        <DataTable
          caption="Requests"
          rows={kept}
          rowKey={({ requestId }) => requestId}
          columns={[
            {
              header: "At",
              cell: ({ startedAt }) => (
                <span className="whitespace-nowrap tabular-nums">{startedAt ? second(startedAt) : ""}</span>
              ),
            },
            {
              header: "Status",
              cell: ({ requestId, status, code, aborted, throttledBy, shadowThrottledBy: over }) => (
                <span className="flex flex-wrap items-center gap-1.5">
                  <StatusClass value={Math.floor(status / 100)} exact={status} />
                  {aborted && <Badge tone="warn">Cut off</Badge>}
                  {code && <code className="font-mono text-2xs text-muted">{code}</code>}
                  {throttledBy && (
                    <Link {...paths.explanation(requestId)} className="text-2xs text-accent underline">
                      {`by ${throttledBy}`}
                    </Link>
                  )}
                  {over.length > 0 && <Badge tone="warn">{`Would be throttled: ${over.join(", ")}`}</Badge>}
                </span>
              ),
            },
            {
              header: "Request",
              cell: ({ method, path }) => (
                <code className="font-mono text-xs wrap-anywhere">{`${method} ${path}`}</code>
              ),
            },
            { header: "Stage", cell: ({ stage }) => stage },
            {
              header: "Took",
              numeric: true,
              cell: ({ durationMs }) => milliseconds(durationMs),
            },
            { header: "Out", numeric: true, cell: ({ bytesOut }) => bytes(bytesOut) },
            {
              header: "Key",
              cell: ({ apiKey }) => apiKey?.name ?? <span className="text-muted">none</span>,
            },
            {
              header: "Request id",
              cell: ({ requestId }) => (
                <span className="flex max-w-28">
                  <CopyText text={requestId} what="request id" />
                </span>
              ),
            },
          ]}
        />
      )}
    </Panel>
  );
}

/** The fallback: what was counted of the same requests, by minute. */
function Counted({
  api,
  stage,
  status,
}: {
  api: string;
  stage: string | undefined;
  status: number | undefined;
}) {
  const counted = useQuery({
    queryKey: ["requests counted", api, stage],
    queryFn: () => {
      const since = floorToMinute(Date.now() - COUNTED_MS);
      return request(RequestsCountedDocument, {
        filter: { api, interval: "MINUTE", since, ...(stage ? { stage } : {}) },
      });
    },
    refetchInterval: POLL_MS,
  });
  return (
    <Loaded query={counted}>
      {({ usage: { nodes } }) => {
        const rows = nodes.filter(({ statusClass }) => !status || statusClass === status);
        return rows.length === 0 ? (
          <Empty title="No calls in the last 15 minutes">
            The live connection is down. Until it is back, calls are counted here by the minute.
          </Empty>
        ) : (
          <DataTable
            caption="Calls by the minute"
            rows={rows}
            rowKey={(row) => JSON.stringify([row.start, row.stage, row.route, row.statusClass, row.apiKeyId])}
            columns={[
              { header: "Minute", cell: ({ start }) => time(start) },
              { header: "Status", cell: ({ statusClass }) => <StatusClass value={statusClass} /> },
              {
                header: "Route",
                cell: ({ route }) => <code className="font-mono text-xs wrap-anywhere">{route}</code>,
              },
              { header: "Stage", cell: ({ stage }) => stage },
              { header: "Requests", numeric: true, cell: ({ requests }) => count(requests) },
              { header: "Out", numeric: true, cell: ({ bytesOut }) => bytes(bytesOut) },
            ]}
          />
        );
      }}
    </Loaded>
  );
}
