import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useState } from "react";
import { request } from "../../api/client";
import { settled } from "../../api/errors";
import { graphql } from "../../api/generated";
import { query, refreshAll } from "../../api/query";
import { ConfirmDialog } from "../../components/confirm-dialog";
import { Loaded } from "../../components/loaded";
import { Page } from "../../components/page";
import { Pager } from "../../components/pager";
import { JoinTokenCreateForm } from "../../forms/join-token-create";
import { ago, count, minute } from "../../lib/format";
import { paths } from "../../lib/paths";
import { Badge } from "../../ui/badge";
import { Button } from "../../ui/button";
import { CodeBlock } from "../../ui/copy";
import { Dialog } from "../../ui/dialog";
import { Empty, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";

const JoinTokensDocument = graphql(`
  query JoinTokens($after: String) {
    joinTokens(first: 20, after: $after) {
      nodes { id name cells createdAt expiresAt lastUsedAt uses }
      pageInfo { hasNextPage hasPreviousPage endCursor }
    }
  }
`);

const DeleteJoinTokenDocument = graphql(`
  mutation DeleteJoinToken($input: DeleteJoinTokenInput!) {
    deleteJoinToken(input: $input) { joinToken { id } userErrors { code message param } }
  }
`);

const route = getRouteApi("/installation/operator/join-tokens");

/** With what nodes join the fleet. */
export function JoinTokensPage() {
  const { after } = route.useSearch();
  const tokens = useQuery(query(JoinTokensDocument, { after }));
  const [open, setOpen] = useState<"new" | { token: string }>();
  const [deleting, setDeleting] = useState<{ id: string; name: string }>();
  const now = new Date();
  const create = (
    <Button look="primary" onClick={() => setOpen("new")}>
      Create join token
    </Button>
  );
  return (
    <Page
      title="Join tokens"
      note="Whoever holds one adds nodes, until it expires or is deleted."
      crumbs={[{ label: "Nodes", to: paths.nodes() }]}
      actions={create}
    >
      <Panel flush>
        <Loaded query={tokens}>
          {({ joinTokens: { nodes, pageInfo } }) =>
            nodes.length === 0 ? (
              <Empty title="No join tokens">
                A node takes one as TOLLGATE_JOIN_TOKEN when it first starts.
              </Empty>
            ) : (
              <>
                <DataTable
                  caption="Join tokens"
                  rows={nodes}
                  rowKey={({ id }) => id}
                  columns={[
                    {
                      header: "Name",
                      cell: ({ name }) =>
                        name ? (
                          <span className="font-medium">{name}</span>
                        ) : (
                          <span className="text-muted">unnamed</span>
                        ),
                    },
                    { header: "Cells", cell: ({ cells }) => cells.join(", ") },
                    {
                      header: "Works until",
                      cell: ({ expiresAt }) =>
                        Date.parse(expiresAt) < now.getTime() ? (
                          <Badge tone="warn">Expired</Badge>
                        ) : (
                          <span className="whitespace-nowrap">{minute(expiresAt)}</span>
                        ),
                    },
                    { header: "Nodes joined", numeric: true, cell: ({ uses }) => count(uses) },
                    {
                      header: "Last used",
                      cell: ({ lastUsedAt }) =>
                        lastUsedAt ? (
                          <span className="whitespace-nowrap" title={minute(lastUsedAt)}>
                            {ago(lastUsedAt, now)}
                          </span>
                        ) : (
                          <span className="text-muted">never</span>
                        ),
                    },
                    {
                      header: "Actions",
                      hideHeader: true,
                      numeric: true,
                      cell: ({ id, name }) => (
                        <Button
                          aria-label={`Delete ${name || "unnamed token"}`}
                          onClick={() => setDeleting({ id, name: name || "this token" })}
                        >
                          Delete
                        </Button>
                      ),
                    },
                  ]}
                />
                <Pager pageInfo={pageInfo} after={after} first={paths.joinTokens()} next={paths.joinTokens} />
              </>
            )
          }
        </Loaded>
      </Panel>
      {open === "new" && (
        <Dialog title="Create a join token" onClose={() => setOpen(undefined)}>
          <JoinTokenCreateForm onCancel={() => setOpen(undefined)} onDone={(token) => setOpen({ token })} />
        </Dialog>
      )}
      {typeof open === "object" && (
        <Dialog title="Join token" onClose={() => setOpen(undefined)}>
          <div className="flex flex-col gap-4">
            <p>Start a node with this in TOLLGATE_JOIN_TOKEN. It is shown only this once.</p>
            <CodeBlock text={open.token} what="join token" />
            <div className="flex justify-end">
              <Button look="primary" onClick={() => setOpen(undefined)}>
                I have copied it
              </Button>
            </div>
          </div>
        </Dialog>
      )}
      {deleting && (
        <ConfirmDialog
          title="Delete join token"
          submit="Delete"
          look="danger"
          done="Join token deleted"
          onClose={() => setDeleting(undefined)}
          onConfirm={async () => {
            const input = { joinTokenId: deleting.id };
            settled((await request(DeleteJoinTokenDocument, { input })).deleteJoinToken);
            await refreshAll();
          }}
        >
          Nobody joins by <strong>{deleting.name}</strong> any more. Nodes that did stay. It cannot be brought
          back; create another instead.
        </ConfirmDialog>
      )}
    </Page>
  );
}
