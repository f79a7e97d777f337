import { useQuery } from "@tanstack/react-query";
import { query } from "../../api/query";
import { Loaded } from "../../components/loaded";
import { ViewerDocument } from "../../components/viewer";
import { minute } from "../../lib/format";
import { CopyText } from "../../ui/copy";
import { Fact, Facts, Panel } from "../../ui/panel";

export function TenantPage() {
  const viewer = useQuery(query(ViewerDocument));
  return (
    <Loaded query={viewer}>
      {({ viewer: { tenant, user, role } }) => (
        <>
          <Panel title="Organisation">
            <Facts>
              <Fact name="Name">{tenant?.name}</Fact>
              <Fact name="Id">
                <CopyText text={tenant?.id ?? ""} what="organisation id" />
              </Fact>
              {tenant && <Fact name="Created">{minute(tenant.createdAt)}</Fact>}
            </Facts>
          </Panel>
          <Panel title="You">
            <Facts>
              <Fact name="Email">{user.email}</Fact>
              <Fact name="Role">{role?.toLowerCase()}</Fact>
            </Facts>
          </Panel>
        </>
      )}
    </Loaded>
  );
}
