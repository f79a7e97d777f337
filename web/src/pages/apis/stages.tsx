import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { graphql } from "../../api/generated";
import { query } from "../../api/query";
import { DeploymentStatus, DraftBadge } from "../../components/deployment-status";
import { Loaded } from "../../components/loaded";
import { ago, throttle } from "../../lib/format";
import { paths } from "../../lib/paths";
import { CopyText } from "../../ui/copy";
import { Empty, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";

const StagesDocument = graphql(`
  query Stages($id: ID!) {
    node(id: $id) {
      __typename
      ... on Api {
        stages(first: 100) {
          nodes {
            id name description pendingChanges invokeUrl
            throttle { rateLimit burstLimit enforcement }
            deployment { id createdAt status { nodes acknowledged live refusals } }
          }
        }
      }
    }
  }
`);

const page = getRouteApi("/tenant/apis/$api");

export function StagesPage() {
  const api = page.useParams().api;
  const answer = useQuery(query(StagesDocument, { id: api }));
  return (
    <Panel title="Stages" note="Each serves one deployment, with settings that apply at once." flush>
      <Loaded query={answer}>
        {({ node }) =>
          node?.__typename !== "Api" || node.stages.nodes.length === 0 ? (
            <Empty title="No stages yet">
              A stage is where callers reach a deployment, such as prod. Press Deploy to make the first.
            </Empty>
          ) : (
            <DataTable
              caption="Stages"
              rows={node.stages.nodes}
              rowKey={(stage) => stage.id}
              columns={[
                {
                  header: "Name",
                  cell: (stage) => (
                    <Link
                      {...paths.stage(api, stage.id)}
                      className="font-mono text-xs font-semibold hover:text-accent hover:underline"
                    >
                      {stage.name}
                    </Link>
                  ),
                },
                {
                  header: "Invoke URL",
                  cell: (stage) => <CopyText text={stage.invokeUrl} what="invoke URL" />,
                },
                {
                  header: "Serves",
                  cell: (stage) => (
                    <span className="flex flex-wrap items-center gap-1.5">
                      <DraftBadge pendingChanges={stage.pendingChanges} deployed={!!stage.deployment} />
                      {stage.deployment && <DeploymentStatus status={stage.deployment.status} />}
                    </span>
                  ),
                },
                { header: "Throttle", cell: (stage) => throttle(stage.throttle) },
                {
                  header: "Deployed",
                  numeric: true,
                  cell: (stage) => (stage.deployment ? ago(stage.deployment.createdAt, new Date()) : "never"),
                },
              ]}
            />
          )
        }
      </Loaded>
    </Panel>
  );
}
