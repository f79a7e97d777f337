import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { type ReactNode, useState } from "react";
import { request } from "../../api/client";
import { settled } from "../../api/errors";
import { graphql } from "../../api/generated";
import type { TenantAccountQuery } from "../../api/generated/graphql";
import { query, refreshAll } from "../../api/query";
import { ConfirmDialog } from "../../components/confirm-dialog";
import { DeleteDialog } from "../../components/delete-dialog";
import { DownloadButton } from "../../components/download-button";
import { Loaded } from "../../components/loaded";
import { Page } from "../../components/page";
import { TenantStatus } from "../../components/tenant-status";
import { TenantLimitsForm } from "../../forms/tenant-limits";
import { TenantSuspendForm } from "../../forms/tenant-suspend";
import { bytes, count, minute, month } from "../../lib/format";
import { areRated, isRate, isUnused, LIMIT_NAMES, LIMITS } from "../../lib/limits";
import { paths } from "../../lib/paths";
import { Badge } from "../../ui/badge";
import { Button } from "../../ui/button";
import { CopyText } from "../../ui/copy";
import { Dialog } from "../../ui/dialog";
import { Fact, Facts, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";
import { Missing } from "../not-found";

const TenantAccountDocument = graphql(`
  query TenantAccount($id: ID!) {
    tenant(id: $id) {
      members apis
      usage { month requests billedRequests bytesOut }
      tenant {
        id name status createdAt suspendedAt suspendedReason closedAt erasesAt
        limits { name limit default adjusted used }
      }
    }
  }
`);

const ResumeTenantDocument = graphql(`
  mutation ResumeTenant($input: ResumeTenantInput!) {
    resumeTenant(input: $input) { tenant { id } userErrors { code message param } }
  }
`);

const CloseTenantDocument = graphql(`
  mutation CloseTenant($input: CloseTenantInput!) {
    closeTenant(input: $input) { tenant { id } userErrors { code message param } }
  }
`);

const ReopenTenantDocument = graphql(`
  mutation ReopenTenant($input: ReopenTenantInput!) {
    reopenTenant(input: $input) { tenant { id } userErrors { code message param } }
  }
`);

const ExportTenantDocument = graphql(`
  mutation ExportTenant($input: ExportTenantInput!) {
    exportTenant(input: $input) { url userErrors { code message param } }
  }
`);

type Account = NonNullable<TenantAccountQuery["tenant"]>;

const route = getRouteApi("/installation/operator/tenants/$tenant");

/** One tenant as the operator sees it: how large it is, what it may have, and what can be done to it. */
export function TenantAccountPage() {
  const id = route.useParams().tenant;
  const answer = useQuery(query(TenantAccountDocument, { id }));
  return (
    <Loaded query={answer} lines={10} whole>
      {({ tenant: account }) => (account ? <Account account={account} /> : <Missing noun="tenant" />)}
    </Loaded>
  );
}

function Account({ account }: { account: Account }) {
  const { tenant, usage } = account;
  const [editing, setEditing] = useState(false);
  const byName = new Map(tenant.limits.map((limit) => [limit.name, limit]));
  const limits = LIMIT_NAMES.flatMap((name) => byName.get(name) ?? []);
  const rated = areRated(limits);
  return (
    <Page
      title={tenant.name}
      crumbs={[{ label: "Tenants", to: paths.tenants() }]}
      badge={<TenantStatus status={tenant.status} />}
    >
      <Panel title="Organisation">
        <Facts>
          <Fact name="Id">
            <CopyText text={tenant.id} what="tenant id" />
          </Fact>
          <Fact name="Since">{minute(tenant.createdAt)}</Fact>
          <Fact name="Members">{count(account.members)}</Fact>
          <Fact name="APIs">{count(account.apis)}</Fact>
          {tenant.suspendedAt && <Fact name="Suspended">{minute(tenant.suspendedAt)}</Fact>}
          {tenant.suspendedReason && (
            <Fact name="Reason">
              <span className="wrap-anywhere whitespace-pre-line">{tenant.suspendedReason}</span>
            </Fact>
          )}
          {tenant.closedAt && <Fact name="Closed">{minute(tenant.closedAt)}</Fact>}
          {tenant.erasesAt && <Fact name="Is erased">{minute(tenant.erasesAt)}</Fact>}
        </Facts>
      </Panel>
      <Panel title={month(usage.month)} note="Counted calls of the present month, seconds behind.">
        <Facts>
          <Fact name="Requests">{count(usage.requests)}</Fact>
          <Fact name="Billed requests">{count(usage.billedRequests)}</Fact>
          <Fact name="Bytes out">{bytes(usage.bytesOut)}</Fact>
        </Facts>
      </Panel>
      <Panel
        title="Limits"
        note="How much it may have. Limits of an API are those of the API that has the most."
        flush
        actions={tenant.status !== "CLOSED" && <Button onClick={() => setEditing(true)}>Set limits</Button>}
      >
        <DataTable
          caption="Limits"
          rows={limits}
          rowKey={({ name }) => name}
          columns={[
            { header: "What", cell: ({ name }) => <span className="font-medium">{LIMITS[name]}</span> },
            {
              header: "Used",
              numeric: true,
              cell: ({ name, used, limit }) =>
                isUnused(name) ? (
                  "–"
                ) : (
                  <span className={used >= limit ? "font-medium text-warn" : ""}>{count(used)}</span>
                ),
            },
            {
              header: "Limit",
              numeric: true,
              cell: ({ name, limit, adjusted }) => (
                <span className="inline-flex items-center gap-2">
                  {adjusted && <Badge tone="accent">Set</Badge>}
                  {(isRate(name) ? !rated : isUnused(name) && !adjusted) ? "No limit" : count(limit)}
                </span>
              ),
            },
            {
              header: "Default",
              numeric: true,
              cell: ({ name, default: usual }) => (
                <span className="text-muted">{isUnused(name) ? "No limit" : count(usual)}</span>
              ),
            },
          ]}
        />
      </Panel>
      <Deeds tenant={tenant} />
      {editing && (
        <Dialog title={`Limits of ${tenant.name}`} onClose={() => setEditing(false)}>
          <TenantLimitsForm id={tenant.id} limits={limits} onDone={() => setEditing(false)} />
        </Dialog>
      )}
    </Page>
  );
}

/** What is done to a tenant, each with what it means and, before it is done, how it is undone. */
function Deeds({ tenant }: { tenant: Account["tenant"] }) {
  const { id, name, status, suspendedReason } = tenant;
  const [open, setOpen] = useState<"suspend" | "resume" | "close" | "reopen">();
  const close = () => setOpen(undefined);
  return (
    <>
      <Panel title="What you can do" flush>
        <ul className="divide-y divide-line">
          <Deed
            name="Export"
            note="All that it has, one line for each thing, without secrets. Its audit log says that you did."
          >
            <DownloadButton
              ask={async () => (await request(ExportTenantDocument, { input: { id } })).exportTenant}
              begun="The export has begun; your browser stores it"
            >
              Export everything (NDJSON)
            </DownloadButton>
          </Deed>
          {status === "ACTIVE" && (
            <Deed
              name="Suspend"
              note="Its calls are refused and nothing of it can be changed, until you resume it."
            >
              <Button look="danger" onClick={() => setOpen("suspend")}>
                Suspend tenant
              </Button>
            </Deed>
          )}
          {status === "SUSPENDED" && (
            <Deed name="Resume" note="Its calls are answered again, and its members can change what it has.">
              <Button onClick={() => setOpen("suspend")}>Change the reason</Button>
              <Button look="primary" onClick={() => setOpen("resume")}>
                Resume tenant
              </Button>
            </Deed>
          )}
          {status === "CLOSED" ? (
            <Deed
              name="Reopen"
              note={`It is again what it was before. Possible until ${tenant.erasesAt ? minute(tenant.erasesAt) : "it is erased"}.`}
            >
              <Button look="primary" onClick={() => setOpen("reopen")}>
                Reopen tenant
              </Button>
            </Deed>
          ) : (
            <Deed
              name="Close"
              note="Its calls are refused, its members are logged out, and in a week it is erased."
            >
              <Button look="danger" onClick={() => setOpen("close")}>
                Close tenant
              </Button>
            </Deed>
          )}
        </ul>
      </Panel>
      {open === "suspend" && (
        <Dialog title="Suspend tenant" onClose={close}>
          <TenantSuspendForm id={id} name={name} reason={suspendedReason} onDone={close} />
        </Dialog>
      )}
      {open === "resume" && (
        <ConfirmDialog
          title="Resume tenant"
          submit="Resume"
          done={`Resumed ${name}`}
          onClose={close}
          onConfirm={async () => {
            settled((await request(ResumeTenantDocument, { input: { id } })).resumeTenant);
            await refreshAll();
          }}
        >
          Calls to the APIs of <strong>{name}</strong> are answered again within seconds, and its members can
          change what it has. To undo it, suspend the tenant again.
        </ConfirmDialog>
      )}
      {open === "close" && (
        <DeleteDialog
          verb="Close"
          noun="tenant"
          name={name}
          done={`Closed ${name}`}
          consequence="Calls to its APIs are refused within seconds, and its members are logged out at once. A week from now its APIs, keys, members and logs are erased for good; until then it can be reopened here as it was."
          onClose={close}
          onDelete={async () => {
            settled((await request(CloseTenantDocument, { input: { id, name } })).closeTenant);
            await refreshAll();
          }}
        />
      )}
      {open === "reopen" && (
        <ConfirmDialog
          title="Reopen tenant"
          submit="Reopen"
          done={`Reopened ${name}`}
          onClose={close}
          onConfirm={async () => {
            settled((await request(ReopenTenantDocument, { input: { id } })).reopenTenant);
            await refreshAll();
          }}
        >
          <strong>{name}</strong> is again what it was before it was closed: its calls are answered, unless it
          was suspended, and its members log in anew. To undo it, close the tenant again.
        </ConfirmDialog>
      )}
    </>
  );
}

function Deed({ name, note, children }: { name: string; note: string; children: ReactNode }) {
  return (
    <li className="flex flex-wrap items-center gap-x-4 gap-y-2 px-4 py-3">
      <div className="mr-auto min-w-0">
        <p className="font-medium">{name}</p>
        <p className="text-xs text-muted">{note}</p>
      </div>
      <div className="flex flex-wrap gap-2">{children}</div>
    </li>
  );
}
