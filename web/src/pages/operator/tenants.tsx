import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { graphql } from "../../api/generated";
import type { TenantStatus as Status } from "../../api/generated/graphql";
import { query } from "../../api/query";
import { InvitationLink } from "../../components/invitation-link";
import { Loaded } from "../../components/loaded";
import { Page } from "../../components/page";
import { Pager } from "../../components/pager";
import { STATUSES, TenantStatus } from "../../components/tenant-status";
import type { SentInvitation } from "../../forms/invitation-create";
import { TenantInviteForm } from "../../forms/tenant-invite";
import { count, day } from "../../lib/format";
import { paths, type TenantsSearch } from "../../lib/paths";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { SelectField, TextField } from "../../ui/field";
import { Empty, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";
import { toast } from "../../ui/toast";

const TenantsDocument = graphql(`
  query Tenants($filter: TenantFilter, $after: String) {
    tenants(filter: $filter, first: 20, after: $after) {
      nodes { members apis usage { requests } tenant { id name status createdAt } }
      pageInfo { hasNextPage hasPreviousPage endCursor }
    }
  }
`);

const NAMES = Object.keys(STATUSES) as Status[];

const route = getRouteApi("/installation/operator/tenants");

/** Every tenant of the installation, the newest first. */
export function TenantsPage() {
  const { after, ...filter } = route.useSearch();
  const tenants = useQuery(query(TenantsDocument, { filter, after }));
  const filtered = !!(filter.search || filter.status);
  const [open, setOpen] = useState<"new" | SentInvitation>();
  const close = () => setOpen(undefined);
  const show = (sent: SentInvitation) => {
    if (sent.link) setOpen(sent);
    else {
      close();
      toast(`Invitation sent to ${sent.email}`);
    }
  };
  return (
    <Page
      title="Tenants"
      note="Every organisation on this installation, the newest first."
      actions={
        <Button look="primary" onClick={() => setOpen("new")}>
          Invite a tenant
        </Button>
      }
    >
      <Panel>
        {/* The button Back changes what was searched for without the person's typing. */}
        <Filters key={filter.search ?? ""} filter={filter} />
      </Panel>
      <Panel flush>
        <Loaded query={tenants} lines={8}>
          {({ tenants: { nodes, pageInfo } }) =>
            nodes.length === 0 ? (
              <Empty title={filtered ? "No such tenant" : "No tenants yet"}>
                {filtered
                  ? "No name holds what you search for, or none of them has this status."
                  : "An organisation is listed here as soon as somebody signs up."}
              </Empty>
            ) : (
              <>
                <DataTable
                  caption="Tenants"
                  rows={nodes}
                  rowKey={({ tenant }) => tenant.id}
                  columns={[
                    {
                      header: "Name",
                      cell: ({ tenant }) => (
                        <Link
                          {...paths.tenant(tenant.id)}
                          className="block max-w-72 truncate font-medium hover:text-accent hover:underline"
                          title={tenant.name}
                        >
                          {tenant.name}
                        </Link>
                      ),
                    },
                    { header: "Status", cell: ({ tenant }) => <TenantStatus status={tenant.status} /> },
                    { header: "Members", numeric: true, cell: ({ members }) => count(members) },
                    { header: "APIs", numeric: true, cell: ({ apis }) => count(apis) },
                    {
                      header: "Requests this month",
                      numeric: true,
                      cell: ({ usage }) => count(usage.requests),
                    },
                    {
                      header: "Since",
                      cell: ({ tenant }) => (
                        <span className="whitespace-nowrap">{day(tenant.createdAt)}</span>
                      ),
                    },
                  ]}
                />
                <Pager
                  pageInfo={pageInfo}
                  after={after}
                  first={paths.tenants(filter)}
                  next={(after) => paths.tenants({ ...filter, after })}
                />
              </>
            )
          }
        </Loaded>
      </Panel>
      {open === "new" && (
        <Dialog title="Invite a tenant" onClose={close}>
          <TenantInviteForm onCancel={close} onDone={show} />
        </Dialog>
      )}
      {typeof open === "object" && <InvitationLink sent={open} onClose={close} />}
    </Page>
  );
}

function Filters({ filter }: { filter: TenantsSearch }) {
  const navigate = useNavigate();
  const [typed, setTyped] = useState(filter.search ?? "");
  const show = ({ search, status }: TenantsSearch) =>
    void navigate(paths.tenants({ ...(search ? { search } : {}), ...(status ? { status } : {}) }));
  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    show({ ...filter, search: typed.trim() });
  };
  return (
    <search>
      <form
        onSubmit={onSubmit}
        className="grid items-end gap-3 sm:grid-cols-[minmax(0,1fr)_12rem_max-content]"
      >
        <TextField
          label="Name"
          type="search"
          placeholder="A part of the name"
          value={typed}
          onChange={(event) => setTyped(event.target.value)}
        />
        <SelectField
          label="Status"
          value={filter.status ?? ""}
          onChange={(event) =>
            show({ search: typed.trim(), status: NAMES.find((status) => status === event.target.value) })
          }
        >
          <option value="">Any</option>
          {NAMES.map((status) => (
            <option key={status} value={status}>
              {STATUSES[status].label}
            </option>
          ))}
        </SelectField>
        <div className="flex gap-2">
          <Button type="submit">Search</Button>
          <Button look="quiet" onClick={() => void navigate(paths.tenants())}>
            Reset
          </Button>
        </div>
      </form>
    </search>
  );
}
