import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { graphql } from "../../api/generated";
import type { FleetState as State } from "../../api/generated/graphql";
import { query } from "../../api/query";
import { FLEET_STATES, FleetState } from "../../components/fleet-state";
import { Loaded } from "../../components/loaded";
import { Page } from "../../components/page";
import { Pager } from "../../components/pager";
import { ago, count, minute } from "../../lib/format";
import { paths } from "../../lib/paths";
import { Badge } from "../../ui/badge";
import { ButtonLink } from "../../ui/button";
import { SelectField } from "../../ui/field";
import { Empty, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";

const ReplicasDocument = graphql(`
  query Replicas {
    replicas { id name live softwareVersion startedAt lastSeenAt }
  }
`);

const NodesDocument = graphql(`
  query Nodes($state: FleetState, $after: String) {
    fleetNodes(state: $state, first: 20, after: $after) {
      nodes {
        id name state softwareVersion lastSeenAt
        progress { cell version acknowledgedVersion lag }
        refusals { version }
      }
      pageInfo { hasNextPage hasPreviousPage endCursor }
    }
  }
`);

/** How often the list is asked for while it is looked at. */
const POLL_MS = 5000;
const NAMES = Object.keys(FLEET_STATES) as State[];

const route = getRouteApi("/installation/operator/nodes");

/** Every node that joined: whether it is there, what it runs, how far it is behind. */
export function NodesPage() {
  const { state, after } = route.useSearch();
  const navigate = useNavigate();
  const nodes = useQuery({ ...query(NodesDocument, { state, after }), refetchInterval: POLL_MS });
  return (
    <Page
      title="Nodes"
      note="They answer the tenants' calls. The last to join comes first."
      actions={
        <>
          <ButtonLink {...paths.quarantine()}>Quarantine</ButtonLink>
          <ButtonLink {...paths.joinTokens()}>Join tokens</ButtonLink>
        </>
      }
    >
      <Panel>
        <search className="max-w-48">
          <SelectField
            label="State"
            value={state ?? ""}
            onChange={({ target: { value } }) => {
              const state = NAMES.find((one) => one === value);
              void navigate({ ...paths.nodes(state ? { state } : {}), replace: true });
            }}
          >
            <option value="">Any</option>
            {NAMES.map((state) => (
              <option key={state} value={state}>
                {FLEET_STATES[state].label}
              </option>
            ))}
          </SelectField>
        </search>
      </Panel>
      <Panel flush>
        <Loaded query={nodes} lines={6}>
          {({ fleetNodes: { nodes, pageInfo } }) =>
            nodes.length === 0 ? (
              <Empty
                title={state ? "No node in this state" : "No nodes yet"}
                action={!state && <ButtonLink {...paths.joinTokens()}>Join tokens</ButtonLink>}
              >
                {state
                  ? "Choose another state to see the others."
                  : "No call is answered until a node has joined. It joins by a token."}
              </Empty>
            ) : (
              <>
                <DataTable
                  caption="Nodes"
                  rows={nodes}
                  rowKey={({ id }) => id}
                  columns={[
                    {
                      header: "Node",
                      cell: ({ id, name }) => (
                        <Link
                          {...paths.node(id)}
                          className="block max-w-56 truncate font-medium hover:text-accent hover:underline"
                          title={id}
                        >
                          {name || id}
                        </Link>
                      ),
                    },
                    { header: "State", cell: ({ state }) => <FleetState state={state} /> },
                    {
                      header: "Software",
                      cell: ({ softwareVersion }) => (
                        <code className="font-mono text-xs">{softwareVersion}</code>
                      ),
                    },
                    {
                      header: "Versions behind",
                      numeric: true,
                      cell: ({ progress }) => {
                        const lag = Math.max(0, ...progress.map(({ lag }) => lag));
                        return <span className={lag > 0 ? "font-medium text-warn" : ""}>{count(lag)}</span>;
                      },
                    },
                    {
                      header: "Refused",
                      cell: ({ refusals }) =>
                        refusals.length > 0 ? (
                          <Badge tone="bad">{count(refusals.length)}</Badge>
                        ) : (
                          <span className="text-muted">nothing</span>
                        ),
                    },
                    {
                      header: "Last seen",
                      cell: ({ lastSeenAt }) => (
                        <span className="whitespace-nowrap" title={minute(lastSeenAt)}>
                          {ago(lastSeenAt, new Date())}
                        </span>
                      ),
                    },
                  ]}
                />
                <Pager
                  pageInfo={pageInfo}
                  after={after}
                  first={paths.nodes(state ? { state } : {})}
                  next={(after) => paths.nodes({ ...(state ? { state } : {}), after })}
                />
              </>
            )
          }
        </Loaded>
      </Panel>
      <Replicas />
    </Page>
  );
}

/** The processes that this console and the nodes talk to. */
function Replicas() {
  const replicas = useQuery({ ...query(ReplicasDocument), refetchInterval: POLL_MS });
  return (
    <Panel title="Control plane" note="Its processes that were heard of within the hour." flush>
      <Loaded query={replicas} lines={2}>
        {({ replicas }) => (
          <DataTable
            caption="Control plane"
            rows={replicas}
            rowKey={({ id }) => id}
            columns={[
              { header: "Machine", cell: ({ name }) => <span className="font-medium">{name}</span> },
              {
                header: "State",
                cell: ({ live }) => (
                  <Badge tone={live ? "ok" : "warn"} dot>
                    {live ? "Live" : "Gone"}
                  </Badge>
                ),
              },
              {
                header: "Software",
                cell: ({ softwareVersion }) => <code className="font-mono text-xs">{softwareVersion}</code>,
              },
              {
                header: "Started",
                cell: ({ startedAt }) => <span className="whitespace-nowrap">{minute(startedAt)}</span>,
              },
              {
                header: "Last seen",
                cell: ({ lastSeenAt }) => (
                  <span className="whitespace-nowrap" title={minute(lastSeenAt)}>
                    {ago(lastSeenAt, new Date())}
                  </span>
                ),
              },
            ]}
          />
        )}
      </Loaded>
    </Panel>
  );
}
