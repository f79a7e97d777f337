import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { graphql } from "../api/generated";
import type { LimitStateQuery } from "../api/generated/graphql";
import { query } from "../api/query";
import { ago, count, minute } from "../lib/format";
import { answersWords, countingWords, figures, levelWords } from "../lib/limit-words";
import { Badge } from "../ui/badge";
import { Button } from "../ui/button";
import { SelectField } from "../ui/field";
import { Empty, Panel } from "../ui/panel";
import { DataTable } from "../ui/table";
import { Loaded } from "./loaded";

const LimitStateDocument = graphql(`
  query LimitState($usagePlanId: ID!, $apiKeyId: ID!) {
    limitState(usagePlanId: $usagePlanId, apiKeyId: $apiKeyId) {
      asOf nodes { nodeId answer }
      limits {
        name level enforced stage route rateLimit burstLimit maxInFlight quotaLimit quotaPeriodSeconds resetsAt
        remaining inFlight asOf nodes { nodeId counting remaining inFlight }
      }
    }
  }
`);

/** While the page is looked at. */
const REFRESH_MS = 2000;

type Plan = { id: string; name: string };

/** What a key's limits have left at this moment, on one of its plans at a time. */
export function LimitState({ apiKey, plans }: { apiKey: string; plans: readonly [Plan, ...Plan[]] }) {
  const [chosen, setChosen] = useState(plans[0].id);
  const plan = plans.find(({ id }) => id === chosen) ?? plans[0];
  const answer = useQuery({
    ...query(LimitStateDocument, { usagePlanId: plan.id, apiKeyId: apiKey }),
    refetchInterval: REFRESH_MS,
  });
  return (
    <Panel
      title="Limits right now"
      note={`On ${plan.name}, as the nodes know them; anew every ${REFRESH_MS / 1000} seconds.`}
      actions={
        answer.isError &&
        answer.data && (
          <>
            <Badge tone="warn" dot>
              Not up to date
            </Badge>
            <Button onClick={() => void answer.refetch()}>Try again</Button>
          </>
        )
      }
      flush
    >
      {plans.length > 1 && (
        <div className="max-w-xs px-4 pt-3 pb-1">
          <SelectField
            label="Usage plan"
            value={plan.id}
            onChange={({ target: { value } }) => setChosen(value)}
          >
            {plans.map(({ id, name }) => (
              <option key={id} value={id}>
                {name}
              </option>
            ))}
          </SelectField>
        </div>
      )}
      <Loaded query={answer} lines={4}>
        {({ limitState }) => <Standings of={limitState} />}
      </Loaded>
    </Panel>
  );
}

type State = LimitStateQuery["limitState"];

function Standings({ of: { limits, nodes, asOf } }: { of: State }) {
  return (
    <>
      {limits.length === 0 ? (
        <Empty title="No limit is in use">
          No node has been asked for this key in the last minutes. What its next calls use is shown here.
        </Empty>
      ) : (
        <DataTable
          caption="Limits right now"
          rows={limits}
          rowKey={({ name, stage, route }) => `${name} ${stage} ${route}`}
          columns={[
            { header: "Limit", cell: (limit) => <Named of={limit} /> },
            { header: "Allows", cell: figures },
            { header: "Left", numeric: true, cell: ({ remaining }) => known(remaining) },
            { header: "In progress", numeric: true, cell: ({ inFlight }) => known(inFlight, "") },
            {
              header: "Known",
              cell: ({ asOf: at, resetsAt }) => (
                <span className="whitespace-nowrap">
                  {at ? ago(at, new Date(asOf)) : "not yet"}
                  {resetsAt && (
                    <span className="block text-xs text-muted">{`until ${minute(resetsAt)}`}</span>
                  )}
                </span>
              ),
            },
            { header: "By node", cell: ({ nodes }) => <ByNode of={nodes} /> },
          ]}
        />
      )}
      {/* It changes seldom; the figures would be read out without an end. */}
      <p role="status" className="border-t border-line px-4 py-2.5 text-xs text-muted">
        {answersWords(nodes.map(({ answer }) => answer))}
      </p>
    </>
  );
}

const known = (value: number | null | undefined, none = "not known") =>
  value === null || value === undefined ? <span className="text-muted">{none}</span> : count(value);

function Named({ of: { name, level, enforced, stage, route } }: { of: State["limits"][number] }) {
  return (
    <span>
      <span className="flex flex-wrap items-center gap-1.5">
        <code className="font-mono text-xs">{name}</code>
        {!enforced && <Badge tone="warn">Refuses nobody</Badge>}
      </span>
      <span className="block text-xs text-muted">{route ? `${stage}: ${route}` : levelWords(level)}</span>
    </span>
  );
}

/** What each knows by itself. */
function ByNode({ of }: { of: State["limits"][number]["nodes"] }) {
  return (
    <ul className="flex flex-col gap-1">
      {of.map(({ nodeId, counting, remaining, inFlight }, at) => (
        // Of a node whose place another process takes there are two.
        // biome-ignore lint/suspicious/noArrayIndexKey: nothing else tells the two apart
        <li key={`${nodeId} ${at}`} className="text-xs whitespace-nowrap">
          <code className="font-mono">{`…${nodeId.slice(-6)}`}</code>
          {typeof inFlight === "number" && `: ${count(inFlight)} in progress`}
          {typeof remaining === "number" && `: ${count(remaining)} left`}
          <span className="text-muted">{`, ${countingWords(counting)}`}</span>
        </li>
      ))}
    </ul>
  );
}
