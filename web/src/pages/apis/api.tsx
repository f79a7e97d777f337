import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Outlet } from "@tanstack/react-router";
import { useState } from "react";
import { graphql } from "../../api/generated";
import { query } from "../../api/query";
import { DraftBadge } from "../../components/deployment-status";
import { LoadError } from "../../components/load-error";
import { Page, Tabs } from "../../components/page";
import { useMay } from "../../components/viewer";
import { DeploymentCreateForm } from "../../forms/deployment-create";
import { paths } from "../../lib/paths";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Loading } from "../../ui/panel";
import { toast } from "../../ui/toast";
import { Missing } from "../not-found";

export const ApiDocument = graphql(`
  query Api($id: ID!) {
    node(id: $id) {
      __typename
      ... on Api {
        id apiId name description dialect pendingChanges createdAt updatedAt
        apiKeyLocations trailingSlash pathNormalization methodOverride minimumCompressionSize decompressRequests
        binaryMediaTypes
        corsConfiguration { allowOrigins allowMethods allowHeaders exposeHeaders allowCredentials maxAge }
        stages(first: 50) { nodes { id name invokeUrl pathInvokeUrl pendingChanges deployment { id } } }
      }
    }
  }
`);

const route = getRouteApi("/tenant/apis/$api");

/** What stays while one moves between the pages of an API: its name, its state, deploying. */
export function ApiFrame() {
  const id = route.useParams().api;
  const answer = useQuery(query(ApiDocument, { id }));
  const may = useMay();
  const [deploying, setDeploying] = useState(false);
  if (answer.isError && !answer.data)
    return <LoadError error={answer.error} retry={() => void answer.refetch()} whole />;
  if (!answer.data) return <Loading lines={8} />;
  const api = answer.data.node;
  if (api?.__typename !== "Api") return <Missing noun="API" />;
  const stages = api.stages.nodes;
  return (
    <Page
      title={api.name}
      crumbs={[{ label: "APIs", to: paths.apis() }]}
      badge={
        <DraftBadge pendingChanges={api.pendingChanges} deployed={stages.some((stage) => stage.deployment)} />
      }
      note={api.description}
      actions={
        may("deploy") && (
          <Button look="primary" onClick={() => setDeploying(true)}>
            Deploy
          </Button>
        )
      }
      tabs={
        <Tabs
          label="Pages of this API"
          items={[
            { label: "Routes", to: paths.api(id) },
            { label: "Resources", to: paths.resources(id), within: true },
            { label: "Stages", to: paths.stages(id), within: true },
            { label: "Deployments", to: paths.deployments(id), within: true },
            { label: "Requests", to: paths.requests(id) },
            { label: "Gateway responses", to: paths.gatewayResponses(id) },
            { label: "Settings", to: paths.apiSettings(id) },
          ]}
        />
      }
    >
      <Outlet />
      {deploying && (
        <Dialog title={`Deploy ${api.name}`} onClose={() => setDeploying(false)}>
          <DeploymentCreateForm
            api={id}
            stages={stages.map((stage) => stage.name)}
            onCancel={() => setDeploying(false)}
            onDone={(stage) => {
              setDeploying(false);
              toast(`Deployed to ${stage}`);
            }}
          />
        </Dialog>
      )}
    </Page>
  );
}
