import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { request } from "../../api/client";
import { settled } from "../../api/errors";
import { graphql } from "../../api/generated";
import { query, refreshAll } from "../../api/query";
import { ApiKeyRotation } from "../../components/api-key-rotation";
import { DeleteDialog } from "../../components/delete-dialog";
import { ApiKeySwitch } from "../../components/enabled-switch";
import { LimitState } from "../../components/limit-state";
import { Loaded } from "../../components/loaded";
import { Page } from "../../components/page";
import { useMay } from "../../components/viewer";
import { ApiKeyUpdateForm } from "../../forms/api-key-update";
import { KeyQuotaForm } from "../../forms/key-quota";
import { ago, count, minute } from "../../lib/format";
import { paths } from "../../lib/paths";
import { Badge } from "../../ui/badge";
import { Button, ButtonLink } from "../../ui/button";
import { CopyText } from "../../ui/copy";
import { Fact, Facts, Panel } from "../../ui/panel";
import { Missing } from "../not-found";

const ApiKeyDocument = graphql(`
  query ApiKey($id: ID!) {
    node(id: $id) {
      __typename
      ... on ApiKey {
        id apiKeyId name description hint mode enabled expiresAt createdAt updatedAt lastUsedAt
        previousHint overlapEndsAt clientNetworks origins
        consumer { id name }
        usagePlans { id name stages { id name api { id name } } }
        quotas { usagePlan { id name } startsAt endsAt limit extraCalls version }
      }
    }
  }
`);

const KeyLastUsedDocument = graphql(`
  query KeyLastUsed($filter: UsageFilter!) {
    usage(filter: $filter, first: 1) { nodes { start route requests } }
  }
`);

const DeleteApiKeyDocument = graphql(`
  mutation DeleteApiKey($input: DeleteInput!) {
    deleteApiKey(input: $input) { deletedId userErrors { code message param } }
  }
`);

/** How far back "last used" looks where no use is noted: those of older releases are not. */
const LOOK_BACK_DAYS = 30;

const route = getRouteApi("/tenant/api-keys/$apiKey");

export function ApiKeyPage() {
  const id = route.useParams().apiKey;
  const answer = useQuery(query(ApiKeyDocument, { id }));
  const [since] = useState(() => new Date(Date.now() - LOOK_BACK_DAYS * 86_400_000).toISOString());
  const known = answer.data?.node;
  const noted = known?.__typename === "ApiKey" ? known.lastUsedAt : undefined;
  const counted = useQuery({
    ...query(KeyLastUsedDocument, { filter: { apiKey: id, interval: "MINUTE", since } }),
    enabled: noted === null,
  });
  const last = noted ?? counted.data?.usage.nodes[0]?.start;
  const lastUse = last ? ago(last, new Date()) : counted.data ? `not in ${LOOK_BACK_DAYS} days` : "…";
  const may = useMay();
  const navigate = useNavigate();
  const [deleting, setDeleting] = useState(false);
  return (
    <Loaded query={answer} lines={8} whole>
      {({ node: key }) =>
        key?.__typename !== "ApiKey" ? (
          <Missing noun="API key" />
        ) : (
          <Page
            title={key.name}
            crumbs={[{ label: "API keys", to: paths.apiKeys() }]}
            note={key.description}
            badge={
              <Badge tone={key.enabled ? "ok" : "neutral"} dot>
                {key.enabled ? "Enabled" : "Disabled"}
              </Badge>
            }
            actions={
              <>
                {may("manageApiKeys") && (
                  <Button look="danger" onClick={() => setDeleting(true)}>
                    Delete
                  </Button>
                )}
                <ButtonLink {...paths.usage({ apiKey: id })}>Usage</ButtonLink>
                <ButtonLink look="primary" {...paths.firstRequest(id)}>
                  Try it
                </ButtonLink>
              </>
            }
          >
            <div className="grid grid-cols-1 items-start gap-5 lg:grid-cols-2">
              <div className="flex flex-col gap-5">
                <Panel title="Details">
                  <Facts>
                    <Fact name="Key id">
                      <CopyText text={key.apiKeyId} what="key id" />
                    </Fact>
                    <Fact name="Value">
                      <code className="font-mono text-xs">{`tg_${key.mode.toLowerCase()}_…${key.hint}`}</code>
                      <span className="ml-2 text-xs text-muted">
                        Shown once, when it was drawn. Only its digest is kept.
                      </span>
                    </Fact>
                    <Fact name="Rotation">
                      <ApiKeyRotation apiKey={key} />
                    </Fact>
                    <Fact name="Enabled">
                      <ApiKeySwitch apiKey={key} />
                    </Fact>
                    <Fact name="Last used">{lastUse}</Fact>
                    <Fact name="Expires">{key.expiresAt ? minute(key.expiresAt) : "never"}</Fact>
                    <Fact name="Created">{minute(key.createdAt)}</Fact>
                    {key.consumer && <Fact name="Consumer">{key.consumer.name}</Fact>}
                  </Facts>
                </Panel>
                <Panel title="What it opens">
                  {key.usagePlans.length === 0 && (
                    <p className="text-warn">Nothing: it is on no usage plan.</p>
                  )}
                  <ul className="flex flex-col gap-1.5">
                    {key.usagePlans.map((plan) => (
                      <li key={plan.id}>
                        <Link
                          {...paths.usagePlan(plan.id)}
                          className="font-medium hover:text-accent hover:underline"
                        >
                          {plan.name}
                        </Link>
                        <span className="text-muted">
                          {": "}
                          {plan.stages.map((stage) => `${stage.api.name} / ${stage.name}`).join(", ") ||
                            "no stage"}
                        </span>
                      </li>
                    ))}
                  </ul>
                </Panel>
                {key.quotas.map(
                  ({ usagePlan, limit, startsAt, endsAt, extraCalls, version }) =>
                    usagePlan && (
                      <Panel key={usagePlan.id} title={`Quota on ${usagePlan.name}`}>
                        <Facts>
                          <Fact name="Calls">{count(limit)}</Fact>
                          <Fact name="From">{minute(startsAt)}</Fact>
                          <Fact name="Until">{minute(endsAt)}</Fact>
                        </Facts>
                        <KeyQuotaForm
                          key={version}
                          apiKey={id}
                          usagePlan={usagePlan.id}
                          version={version}
                          extraCalls={extraCalls}
                          hint={`Beside the plan's quota, all told. They end ${minute(endsAt)}.`}
                        />
                      </Panel>
                    ),
                )}
              </div>
              <Panel title="Name, plans and places" note="Changes reach the nodes as soon as they are saved.">
                <ApiKeyUpdateForm key={key.updatedAt} apiKey={key} />
              </Panel>
            </div>
            <LimitsOn plans={key.usagePlans} apiKey={id} />
            {deleting && (
              <DeleteDialog
                noun="API key"
                name={key.name}
                consequence={`Calls with it are refused at once. It was last used: ${lastUse}. This cannot be undone.`}
                onClose={() => setDeleting(false)}
                onDelete={async () => {
                  settled((await request(DeleteApiKeyDocument, { input: { id } })).deleteApiKey);
                  await navigate(paths.apiKeys());
                  await refreshAll();
                }}
              />
            )}
          </Page>
        )
      }
    </Loaded>
  );
}

/** What the key's limits have left, where it is on a plan. */
function LimitsOn({
  plans: [first, ...others],
  apiKey,
}: {
  plans: { id: string; name: string }[];
  apiKey: string;
}) {
  return first && <LimitState key={apiKey} apiKey={apiKey} plans={[first, ...others]} />;
}
