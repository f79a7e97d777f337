import { useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { request } from "../../api/client";
import { settled } from "../../api/errors";
import { graphql } from "../../api/generated";
import { query, refreshAll } from "../../api/query";
import { DeleteDialog } from "../../components/delete-dialog";
import { DeploymentChanges } from "../../components/deployment-changes";
import { DeploymentStatus, DraftBadge } from "../../components/deployment-status";
import { Loaded } from "../../components/loaded";
import { useMay } from "../../components/viewer";
import { StageCanaryForm } from "../../forms/stage-canary";
import { StageClientsForm } from "../../forms/stage-clients";
import { StageTracingForm } from "../../forms/stage-tracing";
import { StageUpdateForm } from "../../forms/stage-update";
import { day, minute } from "../../lib/format";
import { paths } from "../../lib/paths";
import { Badge } from "../../ui/badge";
import { Button } from "../../ui/button";
import { CopyText } from "../../ui/copy";
import { Fact, Facts, Panel } from "../../ui/panel";
import { Missing } from "../not-found";

const StageDocument = graphql(`
  query Stage($id: ID!) {
    node(id: $id) {
      __typename
      ... on Stage {
        id name description autoDeploy lastDeploymentStatusMessage pendingChanges invokeUrl pathInvokeUrl rateLimitHeaders updatedAt
        variables { name value }
        tracingEnabled
        samplingRules { routeKey reservoirPerSecond rate keepErrors keepSlowerThanMillis }
        throttle { rateLimit burstLimit enforcement mode outage }
        routeThrottles { routeKey rateLimit burstLimit enforcement mode outage }
        concurrencyLimit { maxInFlight enforcement }
        routeConcurrencyLimits { routeKey maxInFlight enforcement }
        clientCertificate { id clientCertificateId expirationDate expiresSoon }
        clientThrottles { name key headerName routeKey rateLimit burstLimit enforcement mode outage }
        canarySettings {
          deployment { id deploymentId description } percentTraffic stickiness stickinessName
          stageVariableOverrides { name value }
        }
        changes { total changes { path before after } }
        deployment { id deploymentId description createdAt status { nodes acknowledged live refusals } }
        api { id deployments(first: 20) { nodes { id deploymentId label description createdAt } } }
      }
    }
  }
`);

const DeleteStageDocument = graphql(`
  mutation DeleteStage($input: DeleteInput!) {
    deleteStage(input: $input) { deletedId userErrors { code message param } }
  }
`);

const page = getRouteApi("/tenant/apis/$api/stages/$stage");

export function StagePage() {
  const { api, stage: id } = page.useParams();
  const answer = useQuery(query(StageDocument, { id }));
  const may = useMay();
  const navigate = useNavigate();
  const [deleting, setDeleting] = useState(false);
  return (
    <Loaded query={answer} lines={8}>
      {({ node: stage }) =>
        stage?.__typename !== "Stage" ? (
          <Missing noun="stage" />
        ) : (
          <>
            <Panel
              title={`Stage ${stage.name}`}
              note={stage.description}
              actions={
                may("deploy") && (
                  <Button look="danger" onClick={() => setDeleting(true)}>
                    Delete stage
                  </Button>
                )
              }
            >
              <Facts>
                <Fact name="Invoke URL">
                  <CopyText text={stage.invokeUrl} what="invoke URL" />
                </Fact>
                {stage.pathInvokeUrl && (
                  <Fact name="Without *.localhost">
                    <CopyText text={stage.pathInvokeUrl} what="path invoke URL" />
                  </Fact>
                )}
                <Fact name="State">
                  <span className="flex flex-wrap items-center gap-1.5">
                    <DraftBadge pendingChanges={stage.pendingChanges} deployed={!!stage.deployment} />
                    {stage.deployment && <DeploymentStatus status={stage.deployment.status} />}
                  </span>
                </Fact>
                {stage.deployment?.status.refusals.map((refusal) => (
                  <Fact key={refusal} name="Refused">
                    <span className="text-bad">{refusal}</span>
                  </Fact>
                ))}
                {stage.autoDeploy && (
                  <Fact name="Deploys by itself">
                    {stage.lastDeploymentStatusMessage ?? "Nothing was deployed yet."}
                  </Fact>
                )}
                {stage.canarySettings && (
                  <Fact name="Canary">
                    <Badge tone="warn" dot>{`${stage.canarySettings.percentTraffic} % of calls`}</Badge>{" "}
                    {stage.canarySettings.deployment?.description ||
                      stage.canarySettings.deployment?.deploymentId}
                  </Fact>
                )}
                {stage.clientCertificate?.expiresSoon && (
                  <Fact name="Client certificate">
                    <Badge tone="warn" dot>{`Ends ${day(stage.clientCertificate.expirationDate)}`}</Badge>
                  </Fact>
                )}
                {stage.deployment && <Fact name="Deployed">{minute(stage.deployment.createdAt)}</Fact>}
              </Facts>
            </Panel>
            {stage.changes.total > 0 && (
              <DeploymentChanges
                title="Pending changes"
                note="What deploying the draft to this stage would change."
                found={stage.changes}
              />
            )}
            <Panel title="Settings" note="Live: they reach the nodes as soon as they are saved.">
              <StageUpdateForm
                key={stage.updatedAt}
                stage={stage}
                deployments={stage.api.deployments.nodes}
              />
            </Panel>
            {stage.deployment && !stage.autoDeploy && (
              <Panel
                title="Canary"
                note="A part of the calls goes to another deployment. Live, as the settings above."
              >
                <StageCanaryForm
                  key={stage.updatedAt}
                  stage={stage}
                  deployments={stage.api.deployments.nodes}
                />
              </Panel>
            )}
            <Panel title="Clients" note="How often each client may call. Live, as the settings above.">
              <StageClientsForm key={stage.updatedAt} stage={stage} />
            </Panel>
            <Panel
              title="Tracing"
              note="Which traces of its calls the nodes export, where they have a collector."
            >
              <StageTracingForm key={stage.updatedAt} stage={stage} />
            </Panel>
            {deleting && (
              <DeleteDialog
                noun="stage"
                name={stage.name}
                consequence="Calls to this stage are refused at once, and usage plans lose it."
                onClose={() => setDeleting(false)}
                onDelete={async () => {
                  settled((await request(DeleteStageDocument, { input: { id } })).deleteStage);
                  await navigate(paths.stages(api));
                  await refreshAll();
                }}
              />
            )}
          </>
        )
      }
    </Loaded>
  );
}
