import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { Trash2 } from "lucide-react";
import { useState } from "react";
import { request } from "../../api/client";
import { settled } from "../../api/errors";
import { graphql } from "../../api/generated";
import { query, refreshAll } from "../../api/query";
import { DeleteDialog } from "../../components/delete-dialog";
import { AccessKeySwitch } from "../../components/enabled-switch";
import { Loaded } from "../../components/loaded";
import { Pager } from "../../components/pager";
import { useMay } from "../../components/viewer";
import { AccessKeyCreateForm, type AccessKeyPair } from "../../forms/access-key-create";
import { ago, day, minute } from "../../lib/format";
import { paths } from "../../lib/paths";
import { Button, IconButton } from "../../ui/button";
import { CodeBlock, CopyText } from "../../ui/copy";
import { Dialog } from "../../ui/dialog";
import { Empty, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";

const AccessKeysDocument = graphql(`
  query AccessKeys($after: String) {
    accessKeys(first: 20, after: $after) {
      nodes { id accessKeyId name enabled userEmail lastUsedAt createdAt }
      pageInfo { hasNextPage hasPreviousPage endCursor }
    }
  }
`);

const DeleteAccessKeyDocument = graphql(`
  mutation DeleteAccessKey($input: DeleteInput!) {
    deleteAccessKey(input: $input) { deletedId userErrors { code message param } }
  }
`);

const route = getRouteApi("/tenant/settings/access-keys");

type Open = "new" | { made: AccessKeyPair } | { remove: { id: string; name: string } };

/** What programs sign management calls with, in the place of a person's password. */
export function AccessKeysPage() {
  const { after } = route.useSearch();
  const keys = useQuery(query(AccessKeysDocument, { after }));
  const [open, setOpen] = useState<Open>();
  const close = () => setOpen(undefined);
  const may = useMay();
  const create = may("manageAccessKeys") && (
    <Button look="primary" onClick={() => setOpen("new")}>
      Create access key
    </Button>
  );
  const empty = keys.data?.accessKeys.nodes.length === 0;
  return (
    <>
      <Panel
        title="Access keys"
        note="For programs that are to sign their calls as AWS's are, each acting as its owner. No call is taken by a signature yet."
        flush
        actions={!empty && create}
      >
        <Loaded query={keys}>
          {({ accessKeys: { nodes, pageInfo } }) =>
            nodes.length === 0 ? (
              <Empty title="No access keys yet" action={create}>
                Create one for a deploy script or for the AWS command line. Its secret is shown once.
              </Empty>
            ) : (
              <>
                <DataTable
                  caption="Access keys"
                  rows={nodes}
                  rowKey={(key) => key.id}
                  columns={[
                    { header: "Name", cell: (key) => <span className="font-medium">{key.name}</span> },
                    {
                      header: "Access key id",
                      cell: (key) => <CopyText text={key.accessKeyId} what="access key id" />,
                    },
                    {
                      header: "Acts as",
                      cell: (key) =>
                        key.userEmail ? (
                          <span className="wrap-anywhere">{key.userEmail}</span>
                        ) : (
                          <span className="text-warn">a former member</span>
                        ),
                    },
                    {
                      header: "Last used",
                      cell: (key) =>
                        key.lastUsedAt ? (
                          <span className="whitespace-nowrap" title={minute(key.lastUsedAt)}>
                            {ago(key.lastUsedAt, new Date())}
                          </span>
                        ) : (
                          <span className="text-muted">never</span>
                        ),
                    },
                    {
                      header: "Created",
                      cell: (key) => <span className="whitespace-nowrap">{day(key.createdAt)}</span>,
                    },
                    { header: "Enabled", cell: (key) => <AccessKeySwitch accessKey={key} /> },
                    {
                      header: "Actions",
                      hideHeader: true,
                      numeric: true,
                      cell: (key) =>
                        may("manageAccessKeys") && (
                          <IconButton label={`Delete ${key.name}`} onClick={() => setOpen({ remove: key })}>
                            <Trash2 size={14} aria-hidden="true" />
                          </IconButton>
                        ),
                    },
                  ]}
                />
                <Pager pageInfo={pageInfo} after={after} first={paths.accessKeys()} next={paths.accessKeys} />
              </>
            )
          }
        </Loaded>
      </Panel>
      {open === "new" && (
        <Dialog title="Create an access key" onClose={close}>
          <AccessKeyCreateForm onCancel={close} onDone={(made) => setOpen({ made })} />
        </Dialog>
      )}
      {typeof open === "object" && "made" in open && (
        <Dialog title="Your access key" onClose={close}>
          <Made pair={open.made} onDone={close} />
        </Dialog>
      )}
      {typeof open === "object" && "remove" in open && (
        <DeleteDialog
          noun="access key"
          name={open.remove.name}
          consequence="Calls signed with it are refused at once. This cannot be undone."
          onClose={close}
          onDelete={async () => {
            settled(
              (await request(DeleteAccessKeyDocument, { input: { id: open.remove.id } })).deleteAccessKey,
            );
            await refreshAll();
          }}
        />
      )}
    </>
  );
}

function Made({
  pair: { accessKeyId, secretAccessKey },
  onDone,
}: {
  pair: AccessKeyPair;
  onDone: () => void;
}) {
  return (
    <div className="flex flex-col gap-4">
      <p>Copy the secret now: it is shown only this once, and cannot be looked up later.</p>
      <div className="flex flex-col gap-1.5">
        <p className="font-medium">Access key id</p>
        <CodeBlock text={accessKeyId} what="access key id" />
      </div>
      <div className="flex flex-col gap-1.5">
        <p className="font-medium">Secret access key</p>
        <CodeBlock text={secretAccessKey} what="secret access key" />
      </div>
      <div className="flex justify-end">
        <Button look="primary" onClick={onDone}>
          I have copied it
        </Button>
      </div>
    </div>
  );
}
