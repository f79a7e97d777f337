import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { graphql } from "../../api/generated";
import type { ManagementRequestQuery } from "../../api/generated/graphql";
import { query } from "../../api/query";
import { nameless } from "../../components/audit-entry";
import { Loaded } from "../../components/loaded";
import { RequestOutcome, requestTitle } from "../../components/request-outcome";
import { day, milliseconds, second } from "../../lib/format";
import { paths } from "../../lib/paths";
import { Button, ButtonLink } from "../../ui/button";
import { CopyText } from "../../ui/copy";
import { Empty, Fact, Facts, Panel } from "../../ui/panel";

const ManagementRequestDocument = graphql(`
  query ManagementRequest($requestId: String!) {
    managementRequest(requestId: $requestId) {
      requestId clientRequestId startedAt userId userEmail method path operations status codes durationMs
      address apiVersion
    }
  }
`);

/** The log is written a moment after the answer: so often, and so long after one another, it is asked again. */
const LOOKS_MAX = 5;
const LOOK_AGAIN_MS = 1000;

const route = getRouteApi("/tenant/settings/requests/$request");

/** One request to the management API: where an error's `logUrl` leads. */
export function ManagementRequestPage() {
  const requestId = route.useParams().request;
  const answer = useQuery({
    ...query(ManagementRequestDocument, { requestId }),
    refetchInterval: ({ state: { data, dataUpdateCount } }) =>
      data && !data.managementRequest && dataUpdateCount < LOOKS_MAX ? LOOK_AGAIN_MS : false,
  });
  return (
    <Loaded query={answer} lines={8}>
      {({ managementRequest: request }) =>
        request ? (
          <Shown request={request} />
        ) : (
          <Panel flush>
            <Empty
              title="This request is not in the log"
              action={
                <>
                  <Button onClick={() => void answer.refetch()}>Look again</Button>
                  <ButtonLink {...paths.managementRequests()}>All requests</ButtonLink>
                </>
              }
            >
              A request is written down a moment after its answer, and kept for 30 days. One without an access
              token, or refused unread because too many were made, is not written down; another
              organisation&apos;s is not shown.
            </Empty>
          </Panel>
        )
      }
    </Loaded>
  );
}

type Request = NonNullable<ManagementRequestQuery["managementRequest"]>;

function Shown({ request }: { request: Request }) {
  const who = request.userEmail ?? <span className="text-muted">{nameless(request.userId)}</span>;
  return (
    <Panel
      title={requestTitle(request)}
      note={`${day(request.startedAt)}, ${second(request.startedAt)}`}
      actions={
        <>
          <ButtonLink {...paths.managementRequests({ actor: request.userId })}>All of this person</ButtonLink>
          <ButtonLink {...paths.audit({ requestId: request.requestId })}>What it changed</ButtonLink>
        </>
      }
    >
      <Facts>
        <Fact name="Outcome">
          <RequestOutcome request={request} />
        </Fact>
        {request.codes.length > 0 && (
          <Fact name="What it means">
            <ul className="flex flex-wrap gap-x-3">
              {request.codes.map((code) => (
                <li key={code}>
                  <a href={`/docs/errors/${code}`} className="text-accent underline">
                    {code}
                  </a>
                </li>
              ))}
            </ul>
          </Fact>
        )}
        <Fact name="Request">
          <code className="font-mono text-xs wrap-anywhere">{`${request.method} ${request.path}`}</code>
        </Fact>
        <Fact name="Who">{who}</Fact>
        <Fact name="From">
          <code className="font-mono text-xs">{request.address || "inside"}</code>
        </Fact>
        <Fact name="Took">{milliseconds(request.durationMs)}</Fact>
        {request.apiVersion && <Fact name="API version">{request.apiVersion}</Fact>}
        <Fact name="Request id">
          <CopyText text={request.requestId} what="request id" />
        </Fact>
        {request.clientRequestId && (
          <Fact name="Caller's own id">
            <CopyText text={request.clientRequestId} what="caller's own id" />
          </Fact>
        )}
      </Facts>
    </Panel>
  );
}
