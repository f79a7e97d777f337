import { request } from "../api/client";
import { settled } from "../api/errors";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { ConfirmDialog } from "./confirm-dialog";

const RollBackDocument = graphql(`
  mutation RollBack($input: UpdateStageInput!) {
    updateStage(input: $input) { stage { id deployment { id } } userErrors { code message param } }
  }
`);

/** Points a stage at another of the API's deployments. */
export function RollbackDialog({
  stage,
  deployment,
  onClose,
}: {
  stage: { id: string; name: string };
  deployment: { id: string; deploymentId: string };
  onClose: () => void;
}) {
  return (
    <ConfirmDialog
      title={`Point ${stage.name} at ${deployment.deploymentId}?`}
      submit="Point it there"
      done={`${stage.name} is at ${deployment.deploymentId}.`}
      onConfirm={async () => {
        const input = { id: stage.id, deploymentId: deployment.id };
        settled((await request(RollBackDocument, { input })).updateStage);
        await refreshAll();
      }}
      onClose={onClose}
    >
      Its callers get this deployment within moments. The draft stays as it is, and so does the deployment
      that the stage leaves: point the stage at that one again to undo it.
    </ConfirmDialog>
  );
}
