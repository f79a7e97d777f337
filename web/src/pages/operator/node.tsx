import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useState } from "react";
import { request } from "../../api/client";
import { settled } from "../../api/errors";
import { graphql } from "../../api/generated";
import { query, refreshAll } from "../../api/query";
import { ConfirmDialog } from "../../components/confirm-dialog";
import { FleetState } from "../../components/fleet-state";
import { Loaded } from "../../components/loaded";
import { Page } from "../../components/page";
import { count, minute } from "../../lib/format";
import { paths } from "../../lib/paths";
import { Button, ButtonLink } from "../../ui/button";
import { CopyText } from "../../ui/copy";
import { Empty, Fact, Facts, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";
import { Missing } from "../not-found";

const NodeDocument = graphql(`
  query FleetNode($nodeId: String!) {
    fleetNode(nodeId: $nodeId) {
      id name state softwareVersion cells createdAt connectedAt lastSeenAt certificateExpiresAt revokedAt
      progress { cell version acknowledgedVersion acknowledgedAt lag }
      refusals { cell version resource reason createdAt }
    }
  }
`);

const RevokeNodeDocument = graphql(`
  mutation RevokeNode($input: RevokeNodeInput!) {
    revokeNode(input: $input) { node { id } userErrors { code message param } }
  }
`);

const POLL_MS = 5000;

const route = getRouteApi("/installation/operator/nodes/$node");

/** One node: what it serves, what it could not compile, and its end. */
export function NodePage() {
  const nodeId = route.useParams().node;
  const answer = useQuery({ ...query(NodeDocument, { nodeId }), refetchInterval: POLL_MS });
  const [revoking, setRevoking] = useState(false);
  return (
    <Loaded query={answer} lines={8} whole>
      {({ fleetNode: node }) =>
        node ? (
          <Page
            title={node.name || node.id}
            crumbs={[{ label: "Nodes", to: paths.nodes() }]}
            badge={<FleetState state={node.state} />}
            actions={
              <>
                <ButtonLink {...paths.quarantine({ node: node.id })}>Quarantine</ButtonLink>
                {node.state !== "REVOKED" && (
                  <Button look="danger" onClick={() => setRevoking(true)}>
                    Revoke node
                  </Button>
                )}
              </>
            }
          >
            <Panel title="Node">
              <Facts>
                <Fact name="Id">
                  <CopyText text={node.id} what="node id" />
                </Fact>
                <Fact name="Software">
                  <code className="font-mono text-xs">{node.softwareVersion}</code>
                </Fact>
                <Fact name="Joined">{minute(node.createdAt)}</Fact>
                <Fact name="Connected">{minute(node.connectedAt)}</Fact>
                <Fact name="Last seen">{minute(node.lastSeenAt)}</Fact>
                <Fact name="Certificate until">{minute(node.certificateExpiresAt)}</Fact>
                {node.revokedAt && <Fact name="Revoked">{minute(node.revokedAt)}</Fact>}
              </Facts>
            </Panel>
            <Panel title="Cells" note="What the node serves of each." flush>
              <DataTable
                caption="Cells"
                rows={node.progress}
                rowKey={({ cell }) => cell}
                columns={[
                  { header: "Cell", cell: ({ cell }) => <span className="font-medium">{cell}</span> },
                  { header: "Newest version", numeric: true, cell: ({ version }) => count(version) },
                  {
                    header: "Serves version",
                    numeric: true,
                    cell: ({ acknowledgedVersion }) =>
                      acknowledgedVersion == null ? (
                        <span className="text-muted">none yet</span>
                      ) : (
                        count(acknowledgedVersion)
                      ),
                  },
                  {
                    header: "Behind",
                    numeric: true,
                    cell: ({ lag }) => (
                      <span className={lag > 0 ? "font-medium text-warn" : ""}>{count(lag)}</span>
                    ),
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
                ]}
              />
            </Panel>
            <Panel title="Refused" note="What the node could not compile lately, the newest first." flush>
              {node.refusals.length === 0 ? (
                <Empty title="It took everything">What a node cannot compile is named here, and why.</Empty>
              ) : (
                <DataTable
                  caption="Refused"
                  rows={node.refusals}
                  rowKey={({ cell, version, resource }) => JSON.stringify([cell, version, resource])}
                  columns={[
                    { header: "Cell", cell: ({ cell }) => cell },
                    { header: "Version", numeric: true, cell: ({ version }) => count(version) },
                    {
                      header: "What",
                      cell: ({ resource }) => (
                        <code className="font-mono text-xs wrap-anywhere">{resource}</code>
                      ),
                    },
                    {
                      header: "Why",
                      cell: ({ reason }) => <span className="wrap-anywhere text-bad">{reason}</span>,
                    },
                    {
                      header: "When",
                      cell: ({ createdAt }) => <span className="whitespace-nowrap">{minute(createdAt)}</span>,
                    },
                  ]}
                />
              )}
            </Panel>
            {revoking && (
              <ConfirmDialog
                title="Revoke node"
                submit="Revoke"
                look="danger"
                done={`Revoked ${node.name || node.id}`}
                onClose={() => setRevoking(false)}
                onConfirm={async () => {
                  settled((await request(RevokeNodeDocument, { input: { nodeId } })).revokeNode);
                  await refreshAll();
                }}
              >
                <strong>{node.name || node.id}</strong> is cut off for good. It goes on answering calls with
                what it holds, and gets no change, until you stop it. To bring the machine back, join it anew
                with a new join token.
              </ConfirmDialog>
            )}
          </Page>
        ) : (
          <Missing noun="node" />
        )
      }
    </Loaded>
  );
}
