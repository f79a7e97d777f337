import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useState } from "react";
import { graphql } from "../api/generated";
import type { FirstRequestKeyQuery, FirstRequestUsageQuery } from "../api/generated/graphql";
import { query } from "../api/query";
import { LoadError } from "../components/load-error";
import { Loaded } from "../components/loaded";
import { Page } from "../components/page";
import { StatusClass } from "../components/status-class";
import { curlLine, KEY_PLACEHOLDER, routesToTry, target } from "../lib/curl";
import { count, floorToMinute, minute } from "../lib/format";
import { paths } from "../lib/paths";
import { shownOnce } from "../lib/shown-once";
import { ButtonLink } from "../ui/button";
import { CodeBlock } from "../ui/copy";
import { SelectField, SwitchField } from "../ui/field";
import { Empty, Panel } from "../ui/panel";
import { DataTable } from "../ui/table";
import { Missing } from "./not-found";

const FirstRequestKeyDocument = graphql(`
  query FirstRequestKey($id: ID!) {
    node(id: $id) {
      __typename
      ... on ApiKey {
        id name hint createdAt
        usagePlans {
          id
          stages {
            id name invokeUrl pathInvokeUrl pendingChanges
            deployment { id }
            api { id name apiKeyLocations routes(first: 50) { nodes { id routeKey method path apiKeyRequired } } }
          }
        }
      }
    }
  }
`);

const FirstRequestUsageDocument = graphql(`
  query FirstRequestUsage($filter: UsageFilter!) {
    usage(filter: $filter, first: 10) {
      nodes { start stage route statusClass requests }
    }
  }
`);

const POLL_MS = 1000;
/** The longest stretch that usage by the minute may be asked for. */
const LOOK_BACK_MS = 30 * 86_400_000;

const route = getRouteApi("/tenant/first-request");

/** Shows how to call with a key, and waits until somebody does. */
export function FirstRequestPage() {
  const id = route.useSearch().apiKey;
  const answer = useQuery({ ...query(FirstRequestKeyDocument, { id: id ?? "" }), enabled: !!id });
  if (!id) return <Missing noun="API key" />;
  return (
    <Loaded query={answer} lines={8} whole>
      {({ node: key }) =>
        key?.__typename !== "ApiKey" ? (
          <Missing noun="API key" />
        ) : (
          <Page
            title="First request"
            crumbs={[
              { label: "API keys", to: paths.apiKeys() },
              { label: key.name, to: paths.apiKey(key.id) },
            ]}
            note="Run the line in a terminal. This page shows the call as soon as it has been counted."
            actions={<ButtonLink {...paths.overview()}>Done</ButtonLink>}
          >
            <KeyValue value={shownOnce.get(key.id)} hint={key.hint} />
            <Command apiKey={key} value={shownOnce.get(key.id)} />
            <Calls apiKey={key.id} createdAt={key.createdAt} />
          </Page>
        )
      }
    </Loaded>
  );
}

type Key = Extract<FirstRequestKeyQuery["node"], { __typename: "ApiKey" }>;

function KeyValue({ value, hint }: { value: string | undefined; hint: string }) {
  if (!value) return null;
  return (
    <Panel
      title="Your API key"
      note={`Copy it now: it is shown only this once. Later you see only that it ends in ${hint}.`}
    >
      <CodeBlock text={value} what="API key" />
    </Panel>
  );
}

function Command({ apiKey, value }: { apiKey: Key; value: string | undefined }) {
  const choices = apiKey.usagePlans
    .flatMap((plan) => plan.stages)
    .filter((stage) => stage.deployment)
    .flatMap((stage) => routesToTry(stage.api.routes.nodes).map((route) => ({ stage, route })));
  const [chosen, setChosen] = useState(0);
  const [byPath, setByPath] = useState(false);
  const choice = choices[chosen];
  if (!choice) {
    return (
      <Panel title="Call it">
        <Empty
          title="This key opens nothing yet"
          action={<ButtonLink {...paths.usagePlans()}>Usage plans</ButtonLink>}
        >
          Its usage plans need a stage that has been deployed, of an API with at least one route.
        </Empty>
      </Panel>
    );
  }
  const { stage, route } = choice;
  const base = (byPath && stage.pathInvokeUrl) || stage.invokeUrl;
  const call = target(base, route);
  return (
    <Panel
      title="Call it"
      note={value ? undefined : `Put the key's value in the place of ${KEY_PLACEHOLDER}.`}
    >
      <div className="flex flex-col gap-4">
        <CodeBlock
          text={curlLine({ ...call, apiKey: value, location: stage.api.apiKeyLocations[0] })}
          what="curl line"
        />
        <div className="grid grid-cols-1 items-end gap-4 sm:grid-cols-2">
          <SelectField
            label="Route"
            value={chosen}
            onChange={(event) => setChosen(Number(event.target.value))}
          >
            {choices.map((option, at) => (
              <option key={`${option.stage.id} ${option.route.id}`} value={at}>
                {`${option.stage.api.name} / ${option.stage.name} · ${option.route.routeKey}`}
              </option>
            ))}
          </SelectField>
          {stage.pathInvokeUrl && (
            <SwitchField
              label="Address by path"
              hint="For programs that cannot resolve *.localhost. curl and browsers can."
              checked={byPath}
              onChange={(event) => setByPath(event.target.checked)}
            />
          )}
        </div>
        {stage.pendingChanges && (
          <p className="text-warn">
            The API has changes that this stage does not have yet. If it is refused, look where keys and this
            route were when it was deployed.
          </p>
        )}
        {!route.apiKeyRequired && (
          <p className="text-warn">This route asks for no key, so its calls are not counted for this one.</p>
        )}
      </div>
    </Panel>
  );
}

function Calls({ apiKey, createdAt }: { apiKey: string; createdAt: string }) {
  const [since] = useState(() => floorToMinute(Math.max(Date.parse(createdAt), Date.now() - LOOK_BACK_MS)));
  const answer = useQuery({
    ...query(FirstRequestUsageDocument, { filter: { apiKey, since, interval: "MINUTE" } }),
    refetchInterval: POLL_MS,
  });
  const rows = answer.data?.usage.nodes ?? [];
  return (
    <Panel
      title={rows.length > 0 ? "It works" : "Waiting for the first request"}
      note={rows.length > 0 ? "Calls with this key, as they are counted for the bill." : undefined}
      flush
      actions={
        rows.length > 0 && <ButtonLink {...paths.usage({ apiKey, interval: "MINUTE" })}>All usage</ButtonLink>
      }
    >
      <div aria-live="polite" className="min-h-40">
        {answer.isError && rows.length === 0 ? (
          <LoadError error={answer.error} retry={() => void answer.refetch()} />
        ) : rows.length === 0 ? (
          <div className="flex h-40 items-center justify-center gap-3 text-muted">
            <span aria-hidden="true" className="animate-breathe size-2 rounded-full bg-accent" />
            Listening. A call shows here within seconds.
          </div>
        ) : (
          <CallTable rows={rows} />
        )}
      </div>
    </Panel>
  );
}

function CallTable({ rows }: { rows: FirstRequestUsageQuery["usage"]["nodes"] }) {
  return (
    <DataTable
      caption="Calls with this key"
      rows={rows}
      rowKey={(row) => `${row.start} ${row.stage} ${row.route} ${row.statusClass}`}
      columns={[
        { header: "Route", cell: (row) => <code className="font-mono text-xs">{row.route}</code> },
        { header: "Stage", cell: (row) => <code className="font-mono text-xs">{row.stage}</code> },
        { header: "Status", cell: (row) => <StatusClass value={row.statusClass} /> },
        { header: "Requests", numeric: true, cell: (row) => count(row.requests) },
        { header: "Minute", numeric: true, cell: (row) => minute(row.start) },
      ]}
    />
  );
}
