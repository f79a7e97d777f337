import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useState } from "react";
import { request } from "../../api/client";
import { settled } from "../../api/errors";
import { graphql } from "../../api/generated";
import { query, refreshAll } from "../../api/query";
import { Loaded } from "../../components/loaded";
import { useMay } from "../../components/viewer";
import { type GatewayResponse, GatewayResponseForm } from "../../forms/gateway-response";
import { Badge } from "../../ui/badge";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";
import { toast } from "../../ui/toast";

const GatewayResponsesDocument = graphql(`
  query GatewayResponses($id: ID!) {
    node(id: $id) {
      __typename
      ... on Api {
        gatewayResponses {
          responseType defaultResponse statusCode defaultStatusCode version
          responseParameters { name value }
          responseTemplates { mediaType template }
        }
      }
    }
  }
`);

const DeleteGatewayResponseDocument = graphql(`
  mutation DeleteGatewayResponse($input: DeleteGatewayResponseInput!) {
    deleteGatewayResponse(input: $input) {
      gatewayResponse { version } userErrors { code message param }
    }
  }
`);

const page = getRouteApi("/tenant/apis/$api");

/** What the gateway answers by itself, and how an API has it look. */
export function GatewayResponsesPage() {
  const api = page.useParams().api;
  const answer = useQuery(query(GatewayResponsesDocument, { id: api }));
  const may = useMay();
  const [changing, setChanging] = useState<GatewayResponse>();
  const close = () => setChanging(undefined);
  const reset = async ({ responseType, version }: GatewayResponse) => {
    const input = { apiId: api, responseType, expectedVersion: version };
    settled((await request(DeleteGatewayResponseDocument, { input })).deleteGatewayResponse);
    toast(`${responseType} is the gateway's again`);
    await refreshAll();
  };
  return (
    <>
      <Panel
        title="Gateway responses"
        note="What callers get where no backend answers: for a key that is unknown, a limit that is reached, a backend that fails. Live with the next deployment."
        flush
      >
        <Loaded query={answer}>
          {({ node }) =>
            node?.__typename === "Api" && (
              <DataTable
                caption="Gateway responses"
                rows={node.gatewayResponses}
                rowKey={({ responseType }) => responseType}
                columns={[
                  {
                    header: "Type",
                    cell: ({ responseType }) => <span className="font-mono text-xs">{responseType}</span>,
                  },
                  {
                    header: "Status",
                    cell: ({ statusCode, defaultStatusCode }) =>
                      statusCode ?? defaultStatusCode ?? "as it is",
                  },
                  {
                    header: "Looks",
                    cell: ({ defaultResponse, responseParameters, responseTemplates }) =>
                      defaultResponse ? (
                        <span className="text-muted">the gateway's</span>
                      ) : (
                        <span className="flex flex-wrap items-center gap-2">
                          <Badge tone="accent">changed</Badge>
                          {[
                            ...responseParameters.map(({ name }) =>
                              name.replace(/^gatewayresponse\.header\./, ""),
                            ),
                            ...responseTemplates.map(({ mediaType }) => mediaType),
                          ].join(", ")}
                        </span>
                      ),
                  },
                  {
                    header: "Actions",
                    hideHeader: true,
                    numeric: true,
                    cell: (response) =>
                      may("manageApis") && (
                        <span className="flex justify-end gap-1">
                          <Button
                            aria-label={`Change ${response.responseType}`}
                            onClick={() => setChanging(response)}
                          >
                            Change
                          </Button>
                          {!response.defaultResponse && (
                            <Button
                              aria-label={`Reset ${response.responseType}`}
                              onClick={() => void reset(response)}
                            >
                              Reset
                            </Button>
                          )}
                        </span>
                      ),
                  },
                ]}
              />
            )
          }
        </Loaded>
      </Panel>
      {changing && (
        <Dialog title={changing.responseType} onClose={close}>
          <GatewayResponseForm api={api} response={changing} onCancel={close} onDone={close} />
        </Dialog>
      )}
    </>
  );
}
