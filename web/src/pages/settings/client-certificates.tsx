import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { Download, Trash2 } from "lucide-react";
import { useState } from "react";
import { request } from "../../api/client";
import { settled } from "../../api/errors";
import { graphql } from "../../api/generated";
import type { ClientCertificatesQuery } from "../../api/generated/graphql";
import { query, refreshAll } from "../../api/query";
import { DeleteDialog } from "../../components/delete-dialog";
import { Loaded } from "../../components/loaded";
import { Pager } from "../../components/pager";
import { useMay } from "../../components/viewer";
import {
  ClientCertificateGenerateForm,
  ClientCertificateUpdateForm,
  ClientCertificateUploadForm,
} from "../../forms/client-certificate";
import { day, minute } from "../../lib/format";
import { paths } from "../../lib/paths";
import { storeFile } from "../../lib/store-file";
import { Badge } from "../../ui/badge";
import { Button, IconButton } from "../../ui/button";
import { CopyText } from "../../ui/copy";
import { Dialog } from "../../ui/dialog";
import { Empty, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";

const ClientCertificatesDocument = graphql(`
  query ClientCertificates($after: String) {
    clientCertificates(first: 20, after: $after) {
      nodes {
        id clientCertificateId description origin pemEncodedCertificate createdDate expirationDate expiresSoon
        tags { key value }
      }
      pageInfo { hasNextPage hasPreviousPage endCursor }
    }
  }
`);

const DeleteClientCertificateDocument = graphql(`
  mutation DeleteClientCertificate($input: DeleteInput!) {
    deleteClientCertificate(input: $input) { deletedId userErrors { code message param } }
  }
`);

const route = getRouteApi("/tenant/settings/client-certificates");

type Certificate = ClientCertificatesQuery["clientCertificates"]["nodes"][number];
type Open = "generate" | "upload" | { change: Certificate } | { remove: Certificate };

const ORIGINS = { GENERATED: "Generated", UPLOADED: "Uploaded" };

/** Who nodes are to backends that ask for a certificate. */
export function ClientCertificatesPage() {
  const { after } = route.useSearch();
  const certificates = useQuery(query(ClientCertificatesDocument, { after }));
  const [open, setOpen] = useState<Open>();
  const close = () => setOpen(undefined);
  const may = useMay();
  const create = may("manageApis") && (
    <span className="flex gap-2">
      <Button onClick={() => setOpen("upload")}>Upload</Button>
      <Button look="primary" onClick={() => setOpen("generate")}>
        Generate
      </Button>
    </span>
  );
  const empty = certificates.data?.clientCertificates.nodes.length === 0;
  const soon = certificates.data?.clientCertificates.nodes.filter(({ expiresSoon }) => expiresSoon) ?? [];
  return (
    <>
      <Panel
        title="Client certificates"
        note="What backends over https are shown where they ask for one, by the stage or the integration that names it."
        flush
        actions={!empty && create}
      >
        {soon.length > 0 && (
          <p role="status" className="m-4 rounded-md bg-warn-soft px-3 py-2 text-warn">
            {soon.length === 1 ? "A certificate ends" : `${soon.length} certificates end`} within 30 days, or
            did already. Generate or upload another, have backends accept it too, and name it in the place of
            the old one.
          </p>
        )}
        <Loaded query={certificates}>
          {({ clientCertificates: { nodes, pageInfo } }) =>
            nodes.length === 0 ? (
              <Empty title="No client certificates yet" action={create}>
                Generate one, and have your backends let in only who shows it.
              </Empty>
            ) : (
              <>
                <DataTable
                  caption="Client certificates"
                  rows={nodes}
                  rowKey={(certificate) => certificate.id}
                  columns={[
                    {
                      header: "Description",
                      cell: ({ description, tags }) => (
                        <>
                          <span className="font-medium">{description || "None"}</span>
                          {tags.length > 0 && (
                            <p className="text-muted text-xs">
                              {tags.map(({ key, value }) => `${key} = ${value}`).join(", ")}
                            </p>
                          )}
                        </>
                      ),
                    },
                    {
                      header: "Certificate id",
                      cell: ({ clientCertificateId }) => (
                        <CopyText text={clientCertificateId} what="client certificate id" />
                      ),
                    },
                    { header: "From", cell: ({ origin }) => ORIGINS[origin] },
                    {
                      header: "Created",
                      cell: ({ createdDate }) => (
                        <span className="whitespace-nowrap">{day(createdDate)}</span>
                      ),
                    },
                    {
                      header: "Expires",
                      cell: ({ expirationDate, expiresSoon }) => (
                        <span className="whitespace-nowrap" title={minute(expirationDate)}>
                          {expiresSoon ? (
                            <Badge tone="warn" dot>
                              {day(expirationDate)}
                            </Badge>
                          ) : (
                            day(expirationDate)
                          )}
                        </span>
                      ),
                    },
                    {
                      header: "Actions",
                      hideHeader: true,
                      numeric: true,
                      cell: (certificate) => (
                        <span className="flex justify-end gap-1">
                          <IconButton
                            label={`Download ${certificate.clientCertificateId}`}
                            onClick={() =>
                              storeFile(
                                `client-certificate-${certificate.clientCertificateId}.pem`,
                                certificate.pemEncodedCertificate,
                                "application/x-pem-file",
                              )
                            }
                          >
                            <Download size={14} aria-hidden="true" />
                          </IconButton>
                          {may("manageApis") && (
                            <>
                              <Button onClick={() => setOpen({ change: certificate })}>Change</Button>
                              <IconButton
                                label={`Delete ${certificate.clientCertificateId}`}
                                onClick={() => setOpen({ remove: certificate })}
                              >
                                <Trash2 size={14} aria-hidden="true" />
                              </IconButton>
                            </>
                          )}
                        </span>
                      ),
                    },
                  ]}
                />
                <Pager
                  pageInfo={pageInfo}
                  after={after}
                  first={paths.clientCertificates()}
                  next={paths.clientCertificates}
                />
              </>
            )
          }
        </Loaded>
      </Panel>
      {open === "generate" && (
        <Dialog title="Generate a client certificate" onClose={close}>
          <ClientCertificateGenerateForm onCancel={close} onDone={close} />
        </Dialog>
      )}
      {open === "upload" && (
        <Dialog title="Upload a client certificate" onClose={close}>
          <ClientCertificateUploadForm onCancel={close} onDone={close} />
        </Dialog>
      )}
      {typeof open === "object" && "change" in open && (
        <Dialog title={`Change ${open.change.clientCertificateId}`} onClose={close}>
          <ClientCertificateUpdateForm certificate={open.change} onCancel={close} onDone={close} />
        </Dialog>
      )}
      {typeof open === "object" && "remove" in open && (
        <DeleteDialog
          noun="client certificate"
          name={open.remove.clientCertificateId}
          consequence="Its private key is gone. This cannot be undone, and is refused while a stage or an integration uses it."
          onClose={close}
          onDelete={async () => {
            const input = { id: open.remove.id };
            settled((await request(DeleteClientCertificateDocument, { input })).deleteClientCertificate);
            await refreshAll();
          }}
        />
      )}
    </>
  );
}
