import { useMutation, useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { request, session } from "../../api/client";
import { requestIdOf, sentence, settled } from "../../api/errors";
import { graphql } from "../../api/generated";
import type { MembersQuery, Role } from "../../api/generated/graphql";
import { query, refreshAll } from "../../api/query";
import { DeleteDialog } from "../../components/delete-dialog";
import { Invitations } from "../../components/invitations";
import { Loaded } from "../../components/loaded";
import { Pager } from "../../components/pager";
import { ROLES, useRoles } from "../../components/role-select";
import { useMay, useViewer } from "../../components/viewer";
import { day } from "../../lib/format";
import { paths } from "../../lib/paths";
import { Badge } from "../../ui/badge";
import { Button } from "../../ui/button";
import { Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";
import { toast } from "../../ui/toast";

const MembersDocument = graphql(`
  query Members($after: String) {
    members(first: 50, after: $after) {
      nodes { id role createdAt user { id email } }
      pageInfo { hasNextPage hasPreviousPage endCursor }
    }
  }
`);

const UpdateMemberDocument = graphql(`
  mutation UpdateMember($input: UpdateMemberInput!) {
    updateMember(input: $input) { member { id role } userErrors { code message param } }
  }
`);

const DeleteMemberDocument = graphql(`
  mutation DeleteMember($input: DeleteInput!) {
    deleteMember(input: $input) { deletedId userErrors { code message param } }
  }
`);

type Member = MembersQuery["members"]["nodes"][number];

const route = getRouteApi("/tenant/settings/members");

/** Who belongs to the tenant, as what, and who is invited. */
export function MembersPage() {
  const { after } = route.useSearch();
  const members = useQuery(query(MembersDocument, { after }));
  const may = useMay();
  const me = useViewer()?.user.id;
  const navigate = useNavigate();
  const [removing, setRemoving] = useState<Member>();
  const leaves = removing?.user.id === me;
  const mayTouch = (member: Member) =>
    may("manageMembers") && (member.role !== "OWNER" || may("manageOwners"));
  return (
    <>
      <Panel title="Members" note="Who can see and change what belongs to this organisation." flush>
        <Loaded query={members}>
          {({ members: { nodes, pageInfo } }) => (
            <>
              <DataTable
                caption="Members"
                rows={nodes}
                rowKey={(member) => member.id}
                columns={[
                  {
                    header: "Email",
                    cell: (member) => (
                      <span className="flex items-center gap-2">
                        <span className="font-medium">{member.user.email}</span>
                        {member.user.id === me && <Badge>You</Badge>}
                      </span>
                    ),
                  },
                  {
                    header: "Role",
                    cell: (member) =>
                      mayTouch(member) ? (
                        <MemberRole member={member} />
                      ) : (
                        <Badge tone={member.role === "OWNER" ? "accent" : "neutral"}>
                          {member.role.toLowerCase()}
                        </Badge>
                      ),
                  },
                  {
                    header: "Since",
                    cell: (member) => <span className="whitespace-nowrap">{day(member.createdAt)}</span>,
                  },
                  {
                    header: "Actions",
                    hideHeader: true,
                    numeric: true,
                    cell: (member) =>
                      member.user.id === me ? (
                        <Button onClick={() => setRemoving(member)}>Leave</Button>
                      ) : (
                        mayTouch(member) && (
                          <Button
                            aria-label={`Remove ${member.user.email}`}
                            onClick={() => setRemoving(member)}
                          >
                            Remove
                          </Button>
                        )
                      ),
                  },
                ]}
              />
              <Pager pageInfo={pageInfo} after={after} first={paths.members()} next={paths.members} />
            </>
          )}
        </Loaded>
      </Panel>
      {may("manageMembers") && <Invitations />}
      {removing && (
        <DeleteDialog
          verb={leaves ? "Leave" : "Remove"}
          done={leaves ? "You left the organisation" : `Removed ${removing.user.email}`}
          noun={leaves ? "organisation" : "member"}
          name={removing.user.email}
          consequence={
            leaves
              ? "You leave this organisation. Your sessions and access keys in it end at once."
              : "Their sessions and access keys in this organisation end at once."
          }
          onClose={() => setRemoving(undefined)}
          onDelete={async () => {
            settled((await request(DeleteMemberDocument, { input: { id: removing.id } })).deleteMember);
            if (leaves) {
              session.forget();
              await navigate(paths.logIn());
            } else await refreshAll();
          }}
        />
      )}
    </>
  );
}

/** A member's role, changed as soon as another is chosen. */
function MemberRole({ member }: { member: Member }) {
  const roles = useRoles();
  const [wanted, setWanted] = useState<Role>();
  const change = useMutation({
    mutationFn: async (role: Role) => {
      settled((await request(UpdateMemberDocument, { input: { id: member.id, role } })).updateMember);
      await refreshAll();
    },
    onSuccess: (_, role) => toast(`${member.user.email} is now ${role.toLowerCase()}`),
    onError: (error) => toast(sentence(error), "bad", requestIdOf(error)),
    onSettled: () => setWanted(undefined),
  });
  return (
    <select
      aria-label={`Role of ${member.user.email}`}
      value={wanted ?? member.role}
      onChange={(event) => {
        const role = ROLES.find(({ role }) => role === event.target.value)?.role;
        if (!role) return;
        setWanted(role);
        change.mutate(role);
      }}
      className="control w-32"
    >
      {roles.map(({ role, label }) => (
        <option key={role} value={role}>
          {label}
        </option>
      ))}
    </select>
  );
}
