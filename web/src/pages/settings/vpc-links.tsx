import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { Trash2 } from "lucide-react";
import { useState } from "react";
import { request } from "../../api/client";
import { settled } from "../../api/errors";
import { graphql } from "../../api/generated";
import type { VpcLinksQuery } from "../../api/generated/graphql";
import { query, refreshAll } from "../../api/query";
import { DeleteDialog } from "../../components/delete-dialog";
import { Loaded } from "../../components/loaded";
import { Pager } from "../../components/pager";
import { useMay } from "../../components/viewer";
import { VpcLinkForm } from "../../forms/vpc-link";
import { day } from "../../lib/format";
import { paths } from "../../lib/paths";
import { Button, IconButton } from "../../ui/button";
import { CopyText } from "../../ui/copy";
import { Dialog } from "../../ui/dialog";
import { Empty, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";

const VpcLinksDocument = graphql(`
  query VpcLinks($after: String) {
    vpcLinks(first: 20, after: $after) {
      nodes {
        id vpcLinkId name description status createdAt
        balancing {
          algorithm
          targets { host port weight }
          hashKey { source name }
          healthCheck { protocol path host intervalMs timeoutMs healthyThreshold unhealthyThreshold statuses { from to } }
          ejection { consecutiveFailures ejectMs maxPercent }
        }
      }
      pageInfo { hasNextPage hasPreviousPage endCursor }
    }
  }
`);

const DeleteVpcLinkDocument = graphql(`
  mutation DeleteVpcLink($input: DeleteInput!) {
    deleteVpcLink(input: $input) { deletedId userErrors { code message param } }
  }
`);

const route = getRouteApi("/tenant/settings/vpc-links");

type VpcLink = VpcLinksQuery["vpcLinks"]["nodes"][number];
type Open = "new" | { change: VpcLink } | { remove: VpcLink };

const ALGORITHMS = {
  ROUND_ROBIN: "In turn",
  LEAST_CONNECTIONS: "Fewest calls in progress",
  CONSISTENT_HASH: "By a key of the call",
};

/** The targets that integrations connect to, in the place of one host. */
export function VpcLinksPage() {
  const { after } = route.useSearch();
  const links = useQuery(query(VpcLinksDocument, { after }));
  const [open, setOpen] = useState<Open>();
  const close = () => setOpen(undefined);
  const may = useMay();
  const create = may("manageApis") && (
    <Button look="primary" onClick={() => setOpen("new")}>
      Create VPC link
    </Button>
  );
  const empty = links.data?.vpcLinks.nodes.length === 0;
  return (
    <>
      <Panel
        title="VPC links"
        note="Targets that integrations connect to, and how calls are spread among them. A change is live at once."
        flush
        actions={!empty && create}
      >
        <Loaded query={links}>
          {({ vpcLinks: { nodes, pageInfo } }) =>
            nodes.length === 0 ? (
              <Empty title="No VPC links yet" action={create}>
                Create one with the addresses of a backend that runs more than once.
              </Empty>
            ) : (
              <>
                <DataTable
                  caption="VPC links"
                  rows={nodes}
                  rowKey={(link) => link.id}
                  columns={[
                    {
                      header: "Name",
                      cell: ({ name, description }) => (
                        <>
                          <span className="font-medium">{name}</span>
                          {description && <p className="text-muted text-xs">{description}</p>}
                        </>
                      ),
                    },
                    {
                      header: "Targets",
                      cell: ({ balancing: { targets } }) => (
                        <span className="font-mono text-xs">
                          {targets
                            .slice(0, 3)
                            .map(({ host, port }) => `${host}:${port}`)
                            .join(", ")}
                          {targets.length > 3 && ` and ${targets.length - 3} more`}
                        </span>
                      ),
                    },
                    { header: "Calls go", cell: ({ balancing }) => ALGORITHMS[balancing.algorithm] },
                    {
                      header: "VPC link id",
                      cell: ({ vpcLinkId }) => <CopyText text={vpcLinkId} what="VPC link id" />,
                    },
                    {
                      header: "Created",
                      cell: ({ createdAt }) => <span className="whitespace-nowrap">{day(createdAt)}</span>,
                    },
                    {
                      header: "Actions",
                      hideHeader: true,
                      numeric: true,
                      cell: (link) =>
                        may("manageApis") && (
                          <span className="flex justify-end gap-1">
                            <Button onClick={() => setOpen({ change: link })}>Change</Button>
                            <IconButton
                              label={`Delete ${link.name}`}
                              onClick={() => setOpen({ remove: link })}
                            >
                              <Trash2 size={14} aria-hidden="true" />
                            </IconButton>
                          </span>
                        ),
                    },
                  ]}
                />
                <Pager pageInfo={pageInfo} after={after} first={paths.vpcLinks()} next={paths.vpcLinks} />
              </>
            )
          }
        </Loaded>
      </Panel>
      {open === "new" && (
        <Dialog title="Create a VPC link" onClose={close}>
          <VpcLinkForm onCancel={close} onDone={close} />
        </Dialog>
      )}
      {typeof open === "object" && "change" in open && (
        <Dialog title={`Change ${open.change.name}`} onClose={close}>
          <VpcLinkForm link={open.change} onCancel={close} onDone={close} />
        </Dialog>
      )}
      {typeof open === "object" && "remove" in open && (
        <DeleteDialog
          noun="VPC link"
          name={open.remove.name}
          consequence="This cannot be undone, and is refused while an integration uses it."
          onClose={close}
          onDelete={async () => {
            settled((await request(DeleteVpcLinkDocument, { input: { id: open.remove.id } })).deleteVpcLink);
            await refreshAll();
          }}
        />
      )}
    </>
  );
}
