import { useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { request } from "../../api/client";
import { settled as settledChange } from "../../api/errors";
import { graphql } from "../../api/generated";
import type { DeploymentQuery, NodeState } from "../../api/generated/graphql";
import { useLive } from "../../api/live";
import { query, queryClient, refreshAll } from "../../api/query";
import { DeleteDialog } from "../../components/delete-dialog";
import { DeploymentChanges } from "../../components/deployment-changes";
import { DeploymentStatus } from "../../components/deployment-status";
import { LiveBadge } from "../../components/live-badge";
import { Loaded } from "../../components/loaded";
import { RollbackDialog } from "../../components/rollback";
import { useMay } from "../../components/viewer";
import { DeploymentUpdateForm } from "../../forms/deployment-update";
import { minute } from "../../lib/format";
import { paths } from "../../lib/paths";
import { Badge, type Tone } from "../../ui/badge";
import { Button, ButtonLink } from "../../ui/button";
import { CopyText } from "../../ui/copy";
import { Empty, Fact, Facts, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";
import { Missing } from "../not-found";

const DeploymentDocument = graphql(`
  query Deployment($id: ID!, $api: ID!) {
    api: node(id: $api) {
      __typename
      ... on Api { stages(first: 50) { nodes { id name autoDeploy deployment { id } } } }
    }
    node(id: $id) {
      __typename
      ... on Deployment {
        id deploymentId description label pinned digest createdAt updatedAt
        changes { total changes { path before after } }
        status {
          version nodes acknowledged live offline refused liveAfterMs publishedAt refusals
          nodeStatuses { nodeId state acknowledgedAt acknowledgedVersion reason }
        }
      }
    }
  }
`);

const DeploymentLiveDocument = graphql(`
  subscription DeploymentLive($id: ID!) {
    deploymentStatus(deploymentId: $id) {
      version nodes acknowledged live offline refused liveAfterMs publishedAt refusals
      nodeStatuses { nodeId state acknowledgedAt acknowledgedVersion reason }
    }
  }
`);

const DeleteDeploymentDocument = graphql(`
  mutation DeleteDeployment($input: DeleteInput!) {
    deleteDeployment(input: $input) { deletedId userErrors { code message param } }
  }
`);

const POLL_MS = 2000;

const route = getRouteApi("/tenant/apis/$api/deployments/$deployment");

/** One deployment, and how far each node is with it, as it happens. */
export function DeploymentPage() {
  const { api, deployment: id } = route.useParams();
  const may = useMay();
  const navigate = useNavigate();
  const [moving, setMoving] = useState<{ id: string; name: string }>();
  const [deleting, setDeleting] = useState(false);
  const settled = (data: DeploymentQuery | undefined) => {
    const node = data?.node;
    return node?.__typename === "Deployment" && (node.status.live || node.status.version === 0);
  };
  const asked = query(DeploymentDocument, { id, api });
  const cached = queryClient.getQueryData<DeploymentQuery>(asked.queryKey);
  const live = useLive(
    DeploymentLiveDocument,
    { id },
    ({ deploymentStatus: status }) =>
      queryClient.setQueryData<DeploymentQuery>(asked.queryKey, (was) =>
        was?.node?.__typename === "Deployment" ? { ...was, node: { ...was.node, status } } : was,
      ),
    !settled(cached),
  );
  const answer = useQuery({
    ...asked,
    refetchInterval: ({ state }) => (live === "live" || settled(state.data) ? false : POLL_MS),
  });
  return (
    <Loaded query={answer} lines={8}>
      {({ node: deployment, api: of }) => {
        if (deployment?.__typename !== "Deployment") return <Missing noun="deployment" />;
        const { status } = deployment;
        const stages = of?.__typename === "Api" ? of.stages.nodes : [];
        const elsewhere = stages.filter(
          (stage) => stage.deployment?.id !== deployment.id && !stage.autoDeploy,
        );
        return (
          <>
            <Panel
              title={`Deployment ${deployment.deploymentId}`}
              note={deployment.description}
              actions={
                <>
                  <ButtonLink {...paths.deployments(api)}>All deployments</ButtonLink>
                  {may("deploy") &&
                    elsewhere.map((stage) => (
                      <Button key={stage.id} onClick={() => setMoving(stage)}>
                        {`Point ${stage.name} here`}
                      </Button>
                    ))}
                  {may("deploy") && (
                    <Button look="danger" onClick={() => setDeleting(true)}>
                      Delete deployment
                    </Button>
                  )}
                </>
              }
            >
              <Facts>
                <Fact name="State">
                  <span className="flex flex-wrap gap-1.5">
                    {status.version === 0 ? (
                      <Badge>On no stage</Badge>
                    ) : (
                      <>
                        <DeploymentStatus status={status} />
                        {!status.live && <LiveBadge live={live} everyMs={POLL_MS} />}
                      </>
                    )}
                  </span>
                </Fact>
                {deployment.label && (
                  <Fact name="Label">
                    <span className="font-semibold wrap-anywhere">{deployment.label}</span>
                  </Fact>
                )}
                <Fact name="Made">{minute(deployment.createdAt)}</Fact>
                {status.publishedAt && <Fact name="Published">{minute(status.publishedAt)}</Fact>}
                {status.liveAfterMs != null && <Fact name="Live after">{`${status.liveAfterMs} ms`}</Fact>}
                <Fact name="Digest">
                  <CopyText text={deployment.digest} what="digest" />
                </Fact>
              </Facts>
            </Panel>
            <Panel title="Label and pin" note="What was frozen never changes; what it is called may.">
              <DeploymentUpdateForm key={deployment.updatedAt} deployment={deployment} />
            </Panel>
            <DeploymentChanges
              title="Changes"
              note="Since the deployment before it, field by field."
              found={deployment.changes}
            />
            <Nodes nodes={status.nodeStatuses} />
            {deleting && (
              <DeleteDialog
                noun="deployment"
                name={deployment.label || deployment.deploymentId}
                consequence="It can no longer be rolled back to. One that is pinned, or that a stage is on, stays."
                onClose={() => setDeleting(false)}
                onDelete={async () => {
                  settledChange(
                    (await request(DeleteDeploymentDocument, { input: { id } })).deleteDeployment,
                  );
                  await navigate(paths.deployments(api));
                  await refreshAll();
                }}
              />
            )}
            {moving && (
              <RollbackDialog stage={moving} deployment={deployment} onClose={() => setMoving(undefined)} />
            )}
          </>
        );
      }}
    </Loaded>
  );
}

const STATES: Record<NodeState, { tone: Tone; label: string }> = {
  LIVE: { tone: "ok", label: "Live" },
  PENDING: { tone: "warn", label: "Pending" },
  REFUSED: { tone: "bad", label: "Refused" },
  OFFLINE: { tone: "neutral", label: "Offline" },
};

type Node = {
  nodeId: string;
  state: NodeState;
  acknowledgedAt?: string | null;
  acknowledgedVersion?: number | null;
  reason?: string | null;
};

function Nodes({ nodes }: { nodes: readonly Node[] }) {
  return (
    <Panel
      title="Nodes"
      note="Each that was heard of within the hour. One that is offline serves what it holds."
      flush
    >
      {nodes.length === 0 ? (
        <Empty title="No node is there">Calls are answered once a node has joined.</Empty>
      ) : (
        <DataTable
          caption="Nodes"
          rows={nodes}
          rowKey={({ nodeId }) => nodeId}
          columns={[
            {
              header: "State",
              cell: ({ state }) => (
                <Badge tone={STATES[state].tone} dot>
                  {STATES[state].label}
                </Badge>
              ),
            },
            { header: "Node", cell: ({ nodeId }) => <CopyText text={nodeId} what="node id" /> },
            {
              header: "Serves version",
              numeric: true,
              cell: ({ acknowledgedVersion }) =>
                acknowledgedVersion ?? <span className="text-muted">none yet</span>,
            },
            {
              header: "Since",
              cell: ({ acknowledgedAt }) =>
                acknowledgedAt ? (
                  <span className="whitespace-nowrap">{minute(acknowledgedAt)}</span>
                ) : (
                  <span className="text-muted">not yet</span>
                ),
            },
            ...(nodes.some(({ reason }) => reason)
              ? [
                  {
                    header: "Why not",
                    cell: ({ reason }: Node) => reason && <span className="text-bad">{reason}</span>,
                  },
                ]
              : []),
          ]}
        />
      )}
    </Panel>
  );
}
