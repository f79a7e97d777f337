import { useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { request } from "../api/client";
import { requestIdOf, sentence, settled } from "../api/errors";
import { graphql } from "../api/generated";
import { query, refreshAll } from "../api/query";
import { InvitationCreateForm, type SentInvitation } from "../forms/invitation-create";
import { day } from "../lib/format";
import { Badge } from "../ui/badge";
import { Button } from "../ui/button";
import { Dialog } from "../ui/dialog";
import { Empty, Panel } from "../ui/panel";
import { DataTable } from "../ui/table";
import { toast } from "../ui/toast";
import { InvitationLink } from "./invitation-link";
import { Loaded } from "./loaded";

/** A tenant's open invitations are a hundred at most. */
const InvitationsDocument = graphql(`
  query Invitations {
    invitations(first: 100) { nodes { id email role invitedBy sentAt expiresAt } }
  }
`);

const ResendInvitationDocument = graphql(`
  mutation ResendInvitation($input: ResendInvitationInput!) {
    resendInvitation(input: $input) { invitation { id email } link userErrors { code message param } }
  }
`);

const DeleteInvitationDocument = graphql(`
  mutation DeleteInvitation($input: DeleteInput!) {
    deleteInvitation(input: $input) { deletedId userErrors { code message param } }
  }
`);

const refused = (error: unknown) => toast(sentence(error), "bad", requestIdOf(error));

/** Who was asked to join and did not answer yet. */
export function Invitations() {
  const invitations = useQuery(query(InvitationsDocument));
  const [open, setOpen] = useState<"new" | SentInvitation>();
  const close = () => setOpen(undefined);
  const show = (sent: SentInvitation) => {
    if (sent.link) setOpen(sent);
    else {
      close();
      toast(`Invitation sent to ${sent.email}`);
    }
  };
  const resend = useMutation({
    mutationFn: async (id: string) => {
      const { invitation, link } = settled(
        (await request(ResendInvitationDocument, { input: { id } })).resendInvitation,
      );
      await refreshAll();
      return { email: invitation?.email ?? "", link: link ?? undefined };
    },
    onSuccess: show,
    onError: refused,
  });
  const revoke = useMutation({
    mutationFn: async ({ id }: { id: string; email: string }) => {
      settled((await request(DeleteInvitationDocument, { input: { id } })).deleteInvitation);
      await refreshAll();
    },
    onSuccess: (_, { email }) => toast(`The invitation of ${email} is revoked`),
    onError: refused,
  });
  const invite = (
    <Button look="primary" onClick={() => setOpen("new")}>
      Invite a member
    </Button>
  );
  const now = Date.now();
  const some = (invitations.data?.invitations.nodes.length ?? 0) > 0;
  return (
    <>
      <Panel title="Invitations" note="A link works for a week, once." flush actions={some && invite}>
        <Loaded query={invitations} lines={3}>
          {({ invitations: { nodes } }) =>
            nodes.length === 0 ? (
              <Empty title="Nobody is invited" action={invite}>
                Who you invite joins with the role that you choose.
              </Empty>
            ) : (
              <DataTable
                caption="Invitations"
                rows={nodes}
                rowKey={(invitation) => invitation.id}
                columns={[
                  {
                    header: "Email",
                    cell: ({ email }) => <span className="font-medium">{email}</span>,
                  },
                  { header: "Role", cell: ({ role }) => <Badge>{role.toLowerCase()}</Badge> },
                  {
                    header: "Invited by",
                    cell: ({ invitedBy }) => invitedBy ?? <span className="text-muted">a former member</span>,
                  },
                  {
                    header: "Link works until",
                    cell: ({ expiresAt }) =>
                      Date.parse(expiresAt) < now ? (
                        <Badge tone="warn">Expired</Badge>
                      ) : (
                        <span className="whitespace-nowrap">{day(expiresAt)}</span>
                      ),
                  },
                  {
                    header: "Actions",
                    hideHeader: true,
                    numeric: true,
                    cell: ({ id, email }) => (
                      <span className="inline-flex gap-2">
                        <Button
                          aria-label={`Send again to ${email}`}
                          busy={resend.isPending && resend.variables === id}
                          onClick={() => resend.mutate(id)}
                        >
                          Send again
                        </Button>
                        <Button
                          aria-label={`Revoke the invitation of ${email}`}
                          busy={revoke.isPending && revoke.variables.id === id}
                          onClick={() => revoke.mutate({ id, email })}
                        >
                          Revoke
                        </Button>
                      </span>
                    ),
                  },
                ]}
              />
            )
          }
        </Loaded>
      </Panel>
      {open === "new" && (
        <Dialog title="Invite a member" onClose={close}>
          <InvitationCreateForm onCancel={close} onDone={show} />
        </Dialog>
      )}
      {typeof open === "object" && <InvitationLink sent={open} onClose={close} />}
    </>
  );
}
