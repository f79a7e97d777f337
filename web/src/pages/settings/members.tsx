import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { graphql } from "../../api/generated";
import { query } from "../../api/query";
import { Loaded } from "../../components/loaded";
import { Pager } from "../../components/pager";
import { day } from "../../lib/format";
import { paths } from "../../lib/paths";
import { Badge } from "../../ui/badge";
import { Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";

const MembersDocument = graphql(`
  query Members($after: String) {
    members(first: 50, after: $after) {
      nodes { id role createdAt user { id email } }
      pageInfo { hasNextPage hasPreviousPage endCursor }
    }
  }
`);

const route = getRouteApi("/tenant/settings/members");

export function MembersPage() {
  const { after } = route.useSearch();
  const members = useQuery(query(MembersDocument, { after }));
  return (
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
                  cell: (member) => <span className="font-medium">{member.user.email}</span>,
                },
                {
                  header: "Role",
                  cell: ({ role }) => (
                    <Badge tone={role === "OWNER" ? "accent" : "neutral"}>{role.toLowerCase()}</Badge>
                  ),
                },
                { header: "Since", numeric: true, cell: (member) => day(member.createdAt) },
              ]}
            />
            <Pager pageInfo={pageInfo} after={after} first={paths.members()} next={paths.members} />
          </>
        )}
      </Loaded>
    </Panel>
  );
}
