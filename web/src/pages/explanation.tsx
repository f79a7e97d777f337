import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { RequestError, sentence } from "../api/errors";
import { graphql } from "../api/generated";
import type { ExplanationQuery } from "../api/generated/graphql";
import { query } from "../api/query";
import { Loaded } from "../components/loaded";
import { Page } from "../components/page";
import { StatusClass } from "../components/status-class";
import { TextFilter } from "../components/text-filter";
import { count, day, second } from "../lib/format";
import { checkWords, figures, levelWords } from "../lib/limit-words";
import { paths } from "../lib/paths";
import { Badge } from "../ui/badge";
import { Button } from "../ui/button";
import { CopyText } from "../ui/copy";
import { Empty, Fact, Facts, Panel } from "../ui/panel";
import { DataTable } from "../ui/table";

const ExplanationDocument = graphql(`
  query Explanation($requestId: String!) {
    explanation(requestId: $requestId) {
      requestId startedAt nodeId apiId stage deploymentId configVersion method route path status code
      apiKeyId apiKey { id name } usagePlanId usagePlan { id name } shadowThrottledBy
      decision {
        name level check rateLimit burstLimit maxInFlight quotaLimit quotaPeriodSeconds remaining retryAfterSeconds
      }
      limits { name limit windowSeconds remaining resetsInSeconds }
    }
  }
`);

const route = getRouteApi("/tenant/explanation");

/** What became of one call, by the id that its answer had. */
export function ExplanationPage() {
  const { request } = route.useSearch();
  const navigate = useNavigate();
  return (
    <Page
      title="Why was it limited?"
      note="Each answer of your APIs has an x-request-id. The nodes remember the newest of them for a while, and say which limit refused a call and what it had left, or that none did."
      crumbs={[{ label: "APIs", to: paths.apis() }]}
    >
      <Panel>
        <search className="max-w-xl">
          <TextFilter
            key={request}
            label="Request id"
            value={request ?? ""}
            onSet={(request) => void navigate({ ...paths.explanation(request), replace: true })}
          />
        </search>
      </Panel>
      {request ? (
        <Explained key={request} requestId={request} />
      ) : (
        <Panel flush>
          <Empty title="No request is chosen">
            Enter the x-request-id of an answer and press Enter. The requests of an API lead here, too.
          </Empty>
        </Panel>
      )}
    </Page>
  );
}

function Explained({ requestId }: { requestId: string }) {
  const answer = useQuery(query(ExplanationDocument, { requestId }));
  const { error } = answer;
  if (error instanceof RequestError && error.code === "not_found") {
    return (
      <Panel flush>
        <Empty
          title="No node knows this request"
          action={<Button onClick={() => void answer.refetch()}>Ask again</Button>}
        >
          {sentence(error)}
        </Empty>
      </Panel>
    );
  }
  return (
    <Loaded query={answer} lines={8}>
      {({ explanation }) => (
        <>
          <Verdict of={explanation} />
          <Call of={explanation} />
          <Standings of={explanation} />
        </>
      )}
    </Loaded>
  );
}

type Explanation = ExplanationQuery["explanation"];

/** Which limit it was, before all else. */
function Verdict({ of: { decision, code, shadowThrottledBy } }: { of: Explanation }) {
  const shadows = shadowThrottledBy.length > 0 && (
    <p className="mt-3 flex flex-wrap gap-1.5">
      <Badge tone="warn">{`Would be throttled: ${shadowThrottledBy.join(", ")}`}</Badge>
    </p>
  );
  if (!decision) {
    return (
      <Panel title="No limit refused it">
        <p>
          {code
            ? `The gateway answered it by itself for another reason: ${code}.`
            : "Every limit that it counted against let it through."}
        </p>
        {shadows}
      </Panel>
    );
  }
  return (
    <Panel title={`Refused by ${decision.name}`} note={levelWords(decision.level)}>
      <Facts>
        <Fact name="The limit">{figures(decision)}</Fact>
        <Fact name="It had left">{count(decision.remaining)}</Fact>
        <Fact name="Told to come back">{`after ${count(decision.retryAfterSeconds)} s`}</Fact>
        <Fact name="How that was known">{checkWords(decision.check)}</Fact>
      </Facts>
      {shadows}
    </Panel>
  );
}

function Call({ of }: { of: Explanation }) {
  return (
    <Panel title="The call" note={`${day(of.startedAt)}, ${second(of.startedAt)}`}>
      <Facts>
        <Fact name="Answer">
          <span className="flex flex-wrap items-center gap-1.5">
            <StatusClass value={Math.floor(of.status / 100)} exact={of.status} />
            {of.code && <code className="font-mono text-2xs text-muted">{of.code}</code>}
          </span>
        </Fact>
        <Fact name="Request">
          <code className="font-mono text-xs wrap-anywhere">{`${of.method} ${of.path}`}</code>
        </Fact>
        <Fact name="Route">
          <code className="font-mono text-xs wrap-anywhere">{of.route}</code>
        </Fact>
        <Fact name="Stage">{`${of.apiId} / ${of.stage}`}</Fact>
        <Fact name="Key">
          {of.apiKey ? (
            <Link {...paths.apiKey(of.apiKey.id)} className="text-accent underline">
              {of.apiKey.name}
            </Link>
          ) : (
            <span className="text-muted">{of.apiKeyId ?? "none"}</span>
          )}
        </Fact>
        <Fact name="Usage plan">
          {of.usagePlan ? (
            <Link {...paths.usagePlan(of.usagePlan.id)} className="text-accent underline">
              {of.usagePlan.name}
            </Link>
          ) : (
            <span className="text-muted">{of.usagePlanId ?? "none"}</span>
          )}
        </Fact>
        <Fact name="Judged by">
          {`${of.deploymentId ? `deployment ${of.deploymentId}, ` : ""}configuration ${count(of.configVersion)}`}
        </Fact>
        <Fact name="Node">
          <CopyText text={of.nodeId} what="node id" />
        </Fact>
        <Fact name="Request id">
          <CopyText text={of.requestId} what="request id" />
        </Fact>
      </Facts>
    </Panel>
  );
}

/** All limits that were asked; what was never asked is not known. */
function Standings({ of: { limits, decision } }: { of: Explanation }) {
  if (limits.length === 0) return null;
  return (
    <Panel
      title="What its limits stood at"
      note="As its answer told them, or could have, in RateLimit."
      flush
    >
      <DataTable
        caption="Limits"
        rows={limits}
        rowKey={({ name }) => name}
        columns={[
          {
            header: "Limit",
            cell: ({ name }) => (
              <span className="flex flex-wrap items-center gap-1.5">
                <code className="font-mono text-xs">{name}</code>
                {name === decision?.name && <Badge tone="bad">Refused it</Badge>}
              </span>
            ),
          },
          { header: "Allows", numeric: true, cell: ({ limit }) => count(limit) },
          { header: "Left", numeric: true, cell: ({ remaining }) => count(remaining) },
          {
            header: "Full again in",
            numeric: true,
            cell: ({ resetsInSeconds: seconds }) =>
              seconds === null || seconds === undefined ? "" : `${count(seconds)} s`,
          },
        ]}
      />
    </Panel>
  );
}
