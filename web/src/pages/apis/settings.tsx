import { useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { request } from "../../api/client";
import { settled } from "../../api/errors";
import { graphql } from "../../api/generated";
import { query, refreshAll } from "../../api/query";
import { DeleteDialog } from "../../components/delete-dialog";
import { Loaded } from "../../components/loaded";
import { useMay } from "../../components/viewer";
import { ApiCorsForm } from "../../forms/api-cors";
import { ApiUpdateForm } from "../../forms/api-update";
import { minute } from "../../lib/format";
import { paths } from "../../lib/paths";
import { Button } from "../../ui/button";
import { CopyText } from "../../ui/copy";
import { Fact, Facts, Panel } from "../../ui/panel";
import { ApiDocument } from "./api";

const DeleteApiDocument = graphql(`
  mutation DeleteApi($input: DeleteInput!) {
    deleteApi(input: $input) { deletedId userErrors { code message param } }
  }
`);

const page = getRouteApi("/tenant/apis/$api");

export function ApiSettingsPage() {
  const id = page.useParams().api;
  const answer = useQuery(query(ApiDocument, { id }));
  const may = useMay();
  const navigate = useNavigate();
  const [deleting, setDeleting] = useState(false);
  return (
    <Loaded query={answer}>
      {({ node: api }) =>
        api?.__typename === "Api" && (
          <>
            <Panel title="Name, description, API keys, paths and bodies">
              <div className="max-w-xl">
                <ApiUpdateForm key={api.updatedAt} api={api} />
              </div>
            </Panel>
            <Panel title="Pages of other origins (CORS)">
              <div className="max-w-xl">
                <ApiCorsForm key={api.updatedAt} api={api} />
              </div>
            </Panel>
            <Panel title="Details">
              <Facts>
                <Fact name="API id">
                  <CopyText text={api.apiId} what="API id" />
                </Fact>
                <Fact name="Created">{minute(api.createdAt)}</Fact>
                <Fact name="Changed">{minute(api.updatedAt)}</Fact>
              </Facts>
            </Panel>
            {may("manageApis") && (
              <Panel
                title="Delete this API"
                note="Its routes, stages and deployments go with it. Usage that was counted stays."
                actions={
                  <Button look="danger" onClick={() => setDeleting(true)}>
                    Delete API
                  </Button>
                }
              >
                <p className="text-muted">
                  {api.stages.nodes.length === 0
                    ? "No stage serves it."
                    : `Callers of ${api.stages.nodes.map(({ name }) => name).join(", ")} are refused at once.`}
                </p>
              </Panel>
            )}
            {deleting && (
              <DeleteDialog
                noun="API"
                name={api.name}
                consequence="This cannot be undone. All its stages stop answering."
                onClose={() => setDeleting(false)}
                onDelete={async () => {
                  settled((await request(DeleteApiDocument, { input: { id } })).deleteApi);
                  await navigate(paths.apis());
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
