import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { Pencil, Trash2 } from "lucide-react";
import { useState } from "react";
import { request } from "../../api/client";
import { settled } from "../../api/errors";
import { graphql } from "../../api/generated";
import type { RoutesQuery } from "../../api/generated/graphql";
import { query, refreshAll } from "../../api/query";
import { DeleteDialog } from "../../components/delete-dialog";
import { Loaded } from "../../components/loaded";
import { useMay } from "../../components/viewer";
import { RouteForm } from "../../forms/route";
import { paths } from "../../lib/paths";
import { Badge } from "../../ui/badge";
import { Button, IconButton } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Empty, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";
import { toast } from "../../ui/toast";

export const RoutesDocument = graphql(`
  query Routes($id: ID!, $after: String) {
    node(id: $id) {
      __typename
      ... on Api {
        routes(first: 100, after: $after) {
          nodes {
            id routeKey method path apiKeyRequired operationName
            resource { id }
            corsConfiguration { allowOrigins allowMethods allowHeaders exposeHeaders allowCredentials maxAge }
            integration {
              id type uri method protocolVersion payloadFormatVersion contentHandling preserveHost connectionId forwarded
              responseTransferMode connectTimeoutMs firstByteTimeoutMs idleTimeoutMs timeoutMs
              aws { secretId endpointUrl invocationType subtype parameters { name value } }
              retryPolicy { attempts on statuses anyMethod perTryTimeoutMs hedgingDelayMs }
              circuitBreaker { consecutiveFailures failurePercent minimumRequests openMs halfOpenProbes }
              tlsConfig { insecureSkipVerification serverNameToVerify caBundle clientCertificateId }
              mockResponse { status headers { name value } body }
            }
          }
          pageInfo { hasNextPage endCursor }
        }
      }
    }
  }
`);

export const DeleteRouteDocument = graphql(`
  mutation DeleteRoute($input: DeleteInput!) {
    deleteRoute(input: $input) { deletedId userErrors { code message param } }
  }
`);

type ApiNode = Extract<RoutesQuery["node"], { __typename: "Api" }>;
export type Route = ApiNode["routes"]["nodes"][number];

const page = getRouteApi("/tenant/apis/$api");

export function RoutesPage() {
  const api = page.useParams().api;
  // Pages of a hundred, stepped through in place: the frame around this list stays.
  const [behind, setBehind] = useState<readonly string[]>([]);
  const answer = useQuery(query(RoutesDocument, { id: api, after: behind.at(-1) }));
  const [open, setOpen] = useState<{ form: Route | "new" } | { remove: Route }>();
  const close = () => setOpen(undefined);
  const hasRoutes = answer.data?.node?.__typename === "Api" && answer.data.node.routes.nodes.length > 0;
  const may = useMay();
  const add = may("manageApis") && <Button onClick={() => setOpen({ form: "new" })}>Add route</Button>;
  return (
    <>
      <Panel
        title="Routes"
        note="Which calls are answered, and by what. Changes reach callers when you deploy."
        flush
        actions={hasRoutes && add}
      >
        <Loaded query={answer}>
          {({ node }) =>
            node?.__typename !== "Api" || node.routes.nodes.length === 0 ? (
              <Empty title="No routes yet" action={add}>
                A route is a method and a path, such as GET /pets, and where its calls go: your backend, or a
                fixed answer.
              </Empty>
            ) : (
              <>
                <DataTable
                  caption="Routes"
                  rows={node.routes.nodes}
                  rowKey={(route) => route.id}
                  columns={[
                    {
                      header: "Route",
                      cell: (route) => (
                        <Link
                          {...paths.method(api, route.id)}
                          className="flex items-baseline gap-2.5 rounded-sm font-mono text-xs hover:underline"
                        >
                          <span className="w-14 font-semibold text-accent">{route.method || "—"}</span>
                          <span>{route.path || route.routeKey}</span>
                        </Link>
                      ),
                    },
                    { header: "Goes to", cell: (route) => <Backend integration={route.integration} /> },
                    {
                      header: "Access",
                      cell: (route) =>
                        route.apiKeyRequired ? <Badge tone="accent">API key</Badge> : <Badge>Open</Badge>,
                    },
                    {
                      header: "Actions",
                      hideHeader: true,
                      numeric: true,
                      cell: (route) =>
                        may("manageApis") && (
                          <span className="inline-flex gap-0.5">
                            <IconButton
                              label={`Edit ${route.routeKey}`}
                              onClick={() => setOpen({ form: route })}
                            >
                              <Pencil size={14} aria-hidden="true" />
                            </IconButton>
                            <IconButton
                              label={`Delete ${route.routeKey}`}
                              onClick={() => setOpen({ remove: route })}
                            >
                              <Trash2 size={14} aria-hidden="true" />
                            </IconButton>
                          </span>
                        ),
                    },
                  ]}
                />
                {(behind.length > 0 || node.routes.pageInfo.hasNextPage) && (
                  <nav aria-label="Pages" className="flex justify-end gap-2 border-t border-line px-4 py-2.5">
                    <Button disabled={behind.length === 0} onClick={() => setBehind(behind.slice(0, -1))}>
                      Back
                    </Button>
                    <Button
                      disabled={!node.routes.pageInfo.hasNextPage}
                      onClick={() => setBehind([...behind, node.routes.pageInfo.endCursor ?? ""])}
                    >
                      Next
                    </Button>
                  </nav>
                )}
              </>
            )
          }
        </Loaded>
      </Panel>
      {open && "form" in open && (
        <Dialog title={open.form === "new" ? "Add a route" : `Edit ${open.form.routeKey}`} onClose={close}>
          <RouteForm
            api={api}
            route={open.form === "new" ? undefined : open.form}
            onCancel={close}
            onDone={() => {
              close();
              toast("Saved to the draft. Deploy to make it live.");
            }}
          />
        </Dialog>
      )}
      {open && "remove" in open && (
        <DeleteDialog
          noun="route"
          name={open.remove.routeKey}
          consequence="The route leaves the draft. Stages serve it until the next deployment."
          onClose={close}
          onDelete={async () => {
            settled((await request(DeleteRouteDocument, { input: { id: open.remove.id } })).deleteRoute);
            await refreshAll();
          }}
        />
      )}
    </>
  );
}

function Backend({ integration }: { integration: Route["integration"] }) {
  if (!integration) return <span className="text-warn">No integration</span>;
  if (integration.type === "MOCK") {
    return (
      <span className="text-muted">{`Fixed answer, status ${integration.mockResponse?.status ?? 200}`}</span>
    );
  }
  return <code className="block max-w-96 truncate font-mono text-xs">{integration.uri}</code>;
}
