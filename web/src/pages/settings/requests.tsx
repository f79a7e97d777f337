import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { graphql } from "../../api/generated";
import { query } from "../../api/query";
import { nameless } from "../../components/audit-entry";
import { Loaded } from "../../components/loaded";
import { Pager } from "../../components/pager";
import { RequestOutcome, requestTitle } from "../../components/request-outcome";
import { TextFilter } from "../../components/text-filter";
import { day, milliseconds, second } from "../../lib/format";
import { type ManagementRequestsSearch, paths } from "../../lib/paths";
import { Button } from "../../ui/button";
import { SelectField } from "../../ui/field";
import { Empty, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";

const ManagementRequestsDocument = graphql(`
  query ManagementRequests($filter: ManagementRequestFilter, $after: String) {
    managementRequests(filter: $filter, first: 50, after: $after) {
      nodes {
        requestId startedAt userId userEmail method path operations status codes durationMs
      }
      pageInfo { hasNextPage hasPreviousPage endCursor }
    }
  }
`);

const ManagementRequestActorsDocument = graphql(`
  query ManagementRequestActors {
    members(first: 100) { nodes { id user { id email } } }
  }
`);

/** The statuses that this API answers with. */
const STATUSES = [200, 201, 204, 400, 401, 403, 404, 405, 409, 412, 413, 415, 422, 429, 500, 503];

const route = getRouteApi("/tenant/settings/requests");

/** What was asked of the management API, newest first, by filters that stand in the URL. */
export function ManagementRequestsPage() {
  const search = route.useSearch();
  const { after, ...filter } = search;
  const requests = useQuery(query(ManagementRequestsDocument, { filter, after }));
  return (
    <>
      <Panel>
        <Filters search={search} />
      </Panel>
      <Panel
        title="Request log"
        note="Each request to Tollgate's own API, this console's too, for 30 days. Calls of your APIs are under each API."
        flush
      >
        <Loaded query={requests} lines={10}>
          {({ managementRequests: { nodes, pageInfo } }) =>
            nodes.length === 0 ? (
              <Empty title="No such request">
                A request is listed a moment after its answer, if it came with an access token. Drop a filter
                to see more.
              </Empty>
            ) : (
              <>
                <DataTable
                  caption="Request log"
                  rows={nodes}
                  rowKey={({ requestId }) => requestId}
                  columns={[
                    {
                      header: "When",
                      cell: ({ requestId, startedAt }) => (
                        <Link
                          {...paths.managementRequest(requestId)}
                          className="font-medium whitespace-nowrap tabular-nums hover:text-accent hover:underline"
                        >
                          {`${day(startedAt)}, ${second(startedAt)}`}
                        </Link>
                      ),
                    },
                    {
                      header: "Who",
                      cell: ({ userId, userEmail }) =>
                        userEmail ? (
                          <span className="wrap-anywhere">{userEmail}</span>
                        ) : (
                          <span className="text-muted">{nameless(userId)}</span>
                        ),
                    },
                    {
                      header: "Request",
                      cell: (request) => (
                        <code className="font-mono text-xs wrap-anywhere">{requestTitle(request)}</code>
                      ),
                    },
                    { header: "Outcome", cell: (request) => <RequestOutcome request={request} /> },
                    { header: "Took", numeric: true, cell: ({ durationMs }) => milliseconds(durationMs) },
                  ]}
                />
                <Pager
                  pageInfo={pageInfo}
                  after={after}
                  first={paths.managementRequests(filter)}
                  next={(after) => paths.managementRequests({ ...filter, after })}
                />
              </>
            )
          }
        </Loaded>
      </Panel>
    </>
  );
}

function Filters({ search }: { search: ManagementRequestsSearch }) {
  const members = useQuery(query(ManagementRequestActorsDocument)).data?.members.nodes ?? [];
  const navigate = useNavigate();
  const { after: _, ...filter } = search;
  const show = (to: ManagementRequestsSearch) =>
    void navigate({ ...paths.managementRequests(to), replace: true });
  const statuses = STATUSES.filter((status) => status !== search.status);
  // An address may name what this list does not.
  if (search.status) statuses.push(search.status);
  return (
    <search className="grid grid-cols-2 items-end gap-3 md:grid-cols-3">
      <TextFilter
        key={search.requestId ?? ""}
        label="Request id"
        value={search.requestId ?? ""}
        onSet={(requestId) => {
          const { requestId: _, ...rest } = filter;
          show(requestId ? { ...rest, requestId } : rest);
        }}
      />
      <SelectField
        label="Who"
        value={search.actor ?? ""}
        onChange={({ target: { value } }) => {
          const { actor: _, ...rest } = filter;
          show(value ? { ...rest, actor: value } : rest);
        }}
      >
        <option value="">Anyone</option>
        {members.map(({ user }) => (
          <option key={user.id} value={user.id}>
            {user.email}
          </option>
        ))}
      </SelectField>
      <SelectField
        label="Status"
        value={search.status ?? ""}
        onChange={({ target: { value } }) => {
          const { status: _, ...rest } = filter;
          show(value ? { ...rest, status: Number(value) } : rest);
        }}
      >
        <option value="">Any</option>
        {statuses
          .sort((a, b) => a - b)
          .map((status) => (
            <option key={status} value={status}>
              {status}
            </option>
          ))}
      </SelectField>
      <SelectField
        label="Outcome"
        value={search.failed === undefined ? "" : String(search.failed)}
        onChange={({ target: { value } }) => {
          const { failed: _, ...rest } = filter;
          show(value ? { ...rest, failed: value === "true" } : rest);
        }}
      >
        <option value="">Any</option>
        <option value="true">With errors</option>
        <option value="false">Without errors</option>
      </SelectField>
      <div className="flex">
        <Button look="quiet" onClick={() => show({})}>
          Reset
        </Button>
      </div>
    </search>
  );
}
