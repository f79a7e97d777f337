import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { Trash2 } from "lucide-react";
import { useState } from "react";
import { request } from "../../api/client";
import { settled } from "../../api/errors";
import { graphql } from "../../api/generated";
import type { SecretsQuery } from "../../api/generated/graphql";
import { query, refreshAll } from "../../api/query";
import { DeleteDialog } from "../../components/delete-dialog";
import { Loaded } from "../../components/loaded";
import { Pager } from "../../components/pager";
import { useMay } from "../../components/viewer";
import { SecretForm } from "../../forms/secret";
import { ago, day, minute } from "../../lib/format";
import { paths } from "../../lib/paths";
import { Button, IconButton } from "../../ui/button";
import { CopyText } from "../../ui/copy";
import { Dialog } from "../../ui/dialog";
import { Empty, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";

const SecretsDocument = graphql(`
  query Secrets($after: String) {
    secrets(first: 20, after: $after) {
      nodes { id secretId name kind valueUpdatedAt createdAt }
      pageInfo { hasNextPage hasPreviousPage endCursor }
    }
  }
`);

const DeleteSecretDocument = graphql(`
  mutation DeleteSecret($input: DeleteInput!) {
    deleteSecret(input: $input) { deletedId userErrors { code message param } }
  }
`);

const route = getRouteApi("/tenant/settings/secrets");

type Secret = SecretsQuery["secrets"]["nodes"][number];
type Open = "new" | { change: Secret } | { remove: Secret };

const KINDS = { TEXT: "Text", AWS_CREDENTIALS: "AWS credentials" };

/** What integrations call their backends with; written, and never shown. */
export function SecretsPage() {
  const { after } = route.useSearch();
  const secrets = useQuery(query(SecretsDocument, { after }));
  const [open, setOpen] = useState<Open>();
  const close = () => setOpen(undefined);
  const may = useMay();
  const create = may("manageApis") && (
    <Button look="primary" onClick={() => setOpen("new")}>
      Create secret
    </Button>
  );
  const empty = secrets.data?.secrets.nodes.length === 0;
  return (
    <>
      <Panel
        title="Secrets"
        note="What integrations call their backends with. Values are kept encrypted, and shown to nobody."
        flush
        actions={!empty && create}
      >
        <Loaded query={secrets}>
          {({ secrets: { nodes, pageInfo } }) =>
            nodes.length === 0 ? (
              <Empty title="No secrets yet" action={create}>
                Create one with the credentials that your Lambda functions are invoked by.
              </Empty>
            ) : (
              <>
                <DataTable
                  caption="Secrets"
                  rows={nodes}
                  rowKey={(secret) => secret.id}
                  columns={[
                    { header: "Name", cell: ({ name }) => <span className="font-medium">{name}</span> },
                    { header: "Kind", cell: ({ kind }) => KINDS[kind] },
                    {
                      header: "Secret id",
                      cell: ({ secretId }) => <CopyText text={secretId} what="secret id" />,
                    },
                    {
                      header: "Value written",
                      cell: ({ valueUpdatedAt }) => (
                        <span className="whitespace-nowrap" title={minute(valueUpdatedAt)}>
                          {ago(valueUpdatedAt, new Date())}
                        </span>
                      ),
                    },
                    {
                      header: "Created",
                      cell: ({ createdAt }) => <span className="whitespace-nowrap">{day(createdAt)}</span>,
                    },
                    {
                      header: "Actions",
                      hideHeader: true,
                      numeric: true,
                      cell: (secret) =>
                        may("manageApis") && (
                          <span className="flex justify-end gap-1">
                            <Button onClick={() => setOpen({ change: secret })}>Change</Button>
                            <IconButton
                              label={`Delete ${secret.name}`}
                              onClick={() => setOpen({ remove: secret })}
                            >
                              <Trash2 size={14} aria-hidden="true" />
                            </IconButton>
                          </span>
                        ),
                    },
                  ]}
                />
                <Pager pageInfo={pageInfo} after={after} first={paths.secrets()} next={paths.secrets} />
              </>
            )
          }
        </Loaded>
      </Panel>
      {open === "new" && (
        <Dialog title="Create a secret" onClose={close}>
          <SecretForm onCancel={close} onDone={close} />
        </Dialog>
      )}
      {typeof open === "object" && "change" in open && (
        <Dialog title={`Change ${open.change.name}`} onClose={close}>
          <SecretForm secret={open.change} onCancel={close} onDone={close} />
        </Dialog>
      )}
      {typeof open === "object" && "remove" in open && (
        <DeleteDialog
          noun="secret"
          name={open.remove.name}
          consequence="Its value is gone. This cannot be undone, and is refused while an integration uses it."
          onClose={close}
          onDelete={async () => {
            settled((await request(DeleteSecretDocument, { input: { id: open.remove.id } })).deleteSecret);
            await refreshAll();
          }}
        />
      )}
    </>
  );
}
