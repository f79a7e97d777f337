import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { Fragment } from "react";
import { graphql } from "../../api/generated";
import { query } from "../../api/query";
import { DeploymentStatus } from "../../components/deployment-status";
import { Loaded } from "../../components/loaded";
import { minute } from "../../lib/format";
import { paths } from "../../lib/paths";
import { Badge } from "../../ui/badge";
import { Empty, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";

const DeploymentsDocument = graphql(`
  query Deployments($id: ID!) {
    node(id: $id) {
      __typename
      ... on Api {
        stages(first: 50) {
          nodes { id name deployment { id } canarySettings { percentTraffic deployment { id } } }
        }
        deployments(first: 50) {
          nodes {
            id deploymentId description label pinned digest createdAt
            status { version nodes acknowledged live refusals }
          }
        }
      }
    }
  }
`);

/** While nodes are still to acknowledge, the page asks this often. */
const SETTLING_MS = 1000;

const page = getRouteApi("/tenant/apis/$api");

export function DeploymentsPage() {
  const api = page.useParams().api;
  const answer = useQuery({
    ...query(DeploymentsDocument, { id: api }),
    refetchInterval: ({ state }) => {
      const node = state.data?.node;
      const newest = node?.__typename === "Api" ? node.deployments.nodes[0] : undefined;
      return newest && !newest.status.live && newest.status.refusals.length === 0 ? SETTLING_MS : false;
    },
  });
  return (
    <Panel
      title="Deployments"
      note="Frozen drafts, newest first. Open one to see what it changed, and to point a stage at it."
      flush
    >
      <Loaded query={answer}>
        {({ node }) => {
          if (node?.__typename !== "Api" || node.deployments.nodes.length === 0) {
            return (
              <Empty title="Nothing deployed yet">
                A deployment freezes the draft. Press Deploy to make the first and point a stage at it.
              </Empty>
            );
          }
          const stages = node.stages.nodes;
          return (
            <DataTable
              caption="Deployments"
              rows={node.deployments.nodes}
              rowKey={(deployment) => deployment.id}
              columns={[
                {
                  header: "Id",
                  cell: (deployment) => (
                    <Link
                      {...paths.deployment(api, deployment.id)}
                      className="font-mono text-xs font-semibold hover:text-accent hover:underline"
                    >
                      {deployment.deploymentId}
                    </Link>
                  ),
                },
                {
                  header: "Description",
                  cell: ({ description, label, pinned }) => (
                    <>
                      {label && <div className="font-semibold">{label}</div>}
                      {pinned && <Badge>pinned</Badge>} {description}
                      {!label && !pinned && !description && <span className="text-muted">none</span>}
                    </>
                  ),
                },
                {
                  header: "Stages",
                  cell: (deployment) => (
                    <span className="flex flex-wrap gap-1">
                      {stages
                        .filter((stage) => stage.deployment?.id === deployment.id)
                        .map((stage) => (
                          <Badge key={stage.id} tone="accent">
                            {stage.name}
                          </Badge>
                        ))}
                      {stages
                        .filter((stage) => stage.canarySettings?.deployment?.id === deployment.id)
                        .map((stage) => (
                          <Fragment key={`canary ${stage.id}`}>
                            <Badge tone="warn">{stage.name}</Badge>
                            <Badge tone="warn">{`canary, ${stage.canarySettings?.percentTraffic} %`}</Badge>
                          </Fragment>
                        ))}
                    </span>
                  ),
                },
                {
                  header: "Nodes",
                  cell: (deployment) => (
                    <div>
                      <DeploymentStatus status={deployment.status} />
                      {deployment.status.refusals.map((refusal) => (
                        <p key={refusal} className="mt-1 max-w-80 text-xs text-bad">
                          {refusal}
                        </p>
                      ))}
                    </div>
                  ),
                },
                {
                  header: "Digest",
                  cell: ({ digest }) => <code className="font-mono text-xs">{digest.slice(0, 12)}</code>,
                },
                { header: "Created", numeric: true, cell: (deployment) => minute(deployment.createdAt) },
              ]}
            />
          );
        }}
      </Loaded>
    </Panel>
  );
}
