import { useQuery } from "@tanstack/react-query";
import { request } from "../../api/client";
import { graphql } from "../../api/generated";
import { query } from "../../api/query";
import { DownloadButton } from "../../components/download-button";
import { Loaded } from "../../components/loaded";
import { useMay, ViewerDocument } from "../../components/viewer";
import { minute } from "../../lib/format";
import { CopyText } from "../../ui/copy";
import { Fact, Facts, Panel } from "../../ui/panel";

const CreateTenantExportDocument = graphql(`
  mutation CreateTenantExport {
    createTenantExport { url userErrors { code message param } }
  }
`);

export function TenantPage() {
  const viewer = useQuery(query(ViewerDocument));
  const may = useMay();
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
          {may("manageMembers") && (
            <Panel
              title="Your data"
              note="APIs, plans, keys, members, the audit log and the usage, one line for each. No secret is in it."
              actions={
                <DownloadButton
                  ask={async () => (await request(CreateTenantExportDocument)).createTenantExport}
                  begun="The export has begun; your browser stores it"
                >
                  Export everything (NDJSON)
                </DownloadButton>
              }
            />
          )}
        </>
      )}
    </Loaded>
  );
}
