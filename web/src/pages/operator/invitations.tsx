import { useMutation, useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useState } from "react";
import { request } from "../../api/client";
import { requestIdOf, sentence, settled } from "../../api/errors";
import { graphql } from "../../api/generated";
import { query, refreshAll } from "../../api/query";
import { InvitationLink } from "../../components/invitation-link";
import { Loaded } from "../../components/loaded";
import { Page } from "../../components/page";
import { Pager } from "../../components/pager";
import type { SentInvitation } from "../../forms/invitation-create";
import { TenantInviteForm } from "../../forms/tenant-invite";
import { day } from "../../lib/format";
import { paths } from "../../lib/paths";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Empty, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";
import { toast } from "../../ui/toast";

const TenantInvitationsDocument = graphql(`
  query TenantInvitations($after: String) {
    tenantInvitations(first: 20, after: $after) {
      nodes { id email tenantName createdAt expiresAt }
      pageInfo { hasNextPage hasPreviousPage endCursor }
    }
  }
`);

const DeleteTenantInvitationDocument = graphql(`
  mutation DeleteTenantInvitation($input: DeleteTenantInvitationInput!) {
    deleteTenantInvitation(input: $input) { invitation { id } userErrors { code message param } }
  }
`);

const route = getRouteApi("/installation/operator/invitations");

/** Who was asked to begin a tenant and did not yet. */
export function TenantInvitationsPage() {
  const { after } = route.useSearch();
  const invitations = useQuery(query(TenantInvitationsDocument, { after }));
  const [open, setOpen] = useState<"new" | SentInvitation>();
  const close = () => setOpen(undefined);
  const show = (sent: SentInvitation) => {
    void refreshAll();
    if (sent.link) setOpen(sent);
    else {
      close();
      toast(`Invitation sent to ${sent.email}`);
    }
  };
  const revoke = useMutation({
    mutationFn: async ({ id }: { id: string; email: string }) => {
      const input = { tenantInvitationId: id };
      settled((await request(DeleteTenantInvitationDocument, { input })).deleteTenantInvitation);
      await refreshAll();
    },
    onSuccess: (_, { email }) => toast(`The invitation of ${email} is revoked`),
    onError: (error) => toast(sentence(error), "bad", requestIdOf(error)),
  });
  return (
    <Page
      title="Invitations"
      note="Who was asked to begin an organisation. A link works for a week, once."
      crumbs={[{ label: "Tenants", to: paths.tenants() }]}
      actions={
        <Button look="primary" onClick={() => setOpen("new")}>
          Invite a tenant
        </Button>
      }
    >
      <Panel flush>
        <Loaded query={invitations}>
          {({ tenantInvitations: { nodes, pageInfo } }) =>
            nodes.length === 0 ? (
              <Empty title="Nobody is invited">
                Who you invite signs up by the link, also where nobody else may.
              </Empty>
            ) : (
              <>
                <DataTable
                  caption="Invitations"
                  rows={nodes}
                  rowKey={({ id }) => id}
                  columns={[
                    {
                      header: "Email",
                      cell: ({ email }) => (
                        <span className="block max-w-72 truncate font-medium" title={email}>
                          {email}
                        </span>
                      ),
                    },
                    {
                      header: "Organisation",
                      cell: ({ tenantName }) =>
                        tenantName ? (
                          <span className="block max-w-72 truncate" title={tenantName}>
                            {tenantName}
                          </span>
                        ) : (
                          <span className="text-muted">theirs to choose</span>
                        ),
                    },
                    {
                      header: "Invited",
                      cell: ({ createdAt }) => <span className="whitespace-nowrap">{day(createdAt)}</span>,
                    },
                    {
                      header: "Link works until",
                      cell: ({ expiresAt }) => <span className="whitespace-nowrap">{day(expiresAt)}</span>,
                    },
                    {
                      header: "Actions",
                      hideHeader: true,
                      numeric: true,
                      cell: ({ id, email }) => (
                        <Button
                          aria-label={`Revoke the invitation of ${email}`}
                          busy={revoke.isPending && revoke.variables.id === id}
                          onClick={() => revoke.mutate({ id, email })}
                        >
                          Revoke
                        </Button>
                      ),
                    },
                  ]}
                />
                <Pager
                  pageInfo={pageInfo}
                  after={after}
                  first={paths.tenantInvitations()}
                  next={paths.tenantInvitations}
                />
              </>
            )
          }
        </Loaded>
      </Panel>
      {open === "new" && (
        <Dialog title="Invite a tenant" onClose={close}>
          <TenantInviteForm onCancel={close} onDone={show} />
        </Dialog>
      )}
      {typeof open === "object" && <InvitationLink sent={open} onClose={close} />}
    </Page>
  );
}
