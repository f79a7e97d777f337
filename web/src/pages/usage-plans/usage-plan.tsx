import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { request } from "../../api/client";
import { settled } from "../../api/errors";
import { graphql } from "../../api/generated";
import { query, refreshAll } from "../../api/query";
import { DeleteDialog } from "../../components/delete-dialog";
import { KeyUsage } from "../../components/key-usage";
import { Loaded } from "../../components/loaded";
import { Page } from "../../components/page";
import { useMay } from "../../components/viewer";
import { UsagePlanForm } from "../../forms/usage-plan";
import { namesOf } from "../../lib/labels";
import { paths } from "../../lib/paths";
import { Badge } from "../../ui/badge";
import { Button, ButtonLink } from "../../ui/button";
import { Empty, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";
import { toast } from "../../ui/toast";
import { Missing } from "../not-found";

const UsagePlanDocument = graphql(`
  query UsagePlan($id: ID!) {
    node(id: $id) {
      __typename
      ... on UsagePlan {
        id usagePlanId name description updatedAt
        throttle { rateLimit burstLimit enforcement mode outage }
        concurrencyLimit { maxInFlight enforcement }
        quota { limit period anchor timeZone startsAt enforcement initialUsed }
        stages { id name api { id name } }
        apiKeys(first: 50) { nodes { id apiKeyId name hint enabled mode } pageInfo { hasNextPage } }
      }
    }
  }
`);

const DeleteUsagePlanDocument = graphql(`
  mutation DeleteUsagePlan($input: DeleteInput!) {
    deleteUsagePlan(input: $input) { deletedId userErrors { code message param } }
  }
`);

const route = getRouteApi("/tenant/usage-plans/$plan");

export function UsagePlanPage() {
  const id = route.useParams().plan;
  const answer = useQuery(query(UsagePlanDocument, { id }));
  const may = useMay();
  const navigate = useNavigate();
  const [deleting, setDeleting] = useState(false);
  return (
    <Loaded query={answer} lines={8} whole>
      {({ node: plan }) => {
        if (plan?.__typename !== "UsagePlan") return <Missing noun="usage plan" />;
        const createKey = may("manageApiKeys") && (
          <ButtonLink look="primary" {...paths.newApiKey(plan.id)}>
            Create API key
          </ButtonLink>
        );
        return (
          <Page
            title={plan.name}
            crumbs={[{ label: "Usage plans", to: paths.usagePlans() }]}
            note={plan.description}
            actions={
              <>
                {may("manageUsagePlans") && (
                  <Button look="danger" onClick={() => setDeleting(true)}>
                    Delete
                  </Button>
                )}
                {createKey}
              </>
            }
          >
            <div className="grid grid-cols-1 items-start gap-5 lg:grid-cols-2">
              <Panel title="Limits and stages" note="Changes reach the nodes as soon as they are saved.">
                <UsagePlanForm key={plan.updatedAt} plan={plan} onDone={() => toast("Usage plan saved")} />
              </Panel>
              <Panel title="API keys" note="Each is throttled and counted on its own." flush>
                {plan.apiKeys.nodes.length === 0 ? (
                  <Empty title="No keys on this plan" action={createKey}>
                    Issue a key and give it to the consumer of your API.
                  </Empty>
                ) : (
                  <DataTable
                    caption="API keys of this plan"
                    rows={plan.apiKeys.nodes}
                    rowKey={(key) => key.id}
                    columns={[
                      {
                        header: "Name",
                        cell: (key) => (
                          <Link
                            {...paths.apiKey(key.id)}
                            className="font-medium hover:text-accent hover:underline"
                          >
                            {key.name}
                          </Link>
                        ),
                      },
                      {
                        header: "Ends in",
                        cell: (key) => <code className="font-mono text-xs">…{key.hint}</code>,
                      },
                      {
                        header: "State",
                        cell: (key) => (
                          <Badge tone={key.enabled ? "ok" : "neutral"} dot>
                            {key.enabled ? "Enabled" : "Disabled"}
                          </Badge>
                        ),
                      },
                    ]}
                  />
                )}
                {plan.apiKeys.pageInfo.hasNextPage && (
                  <p className="border-t border-line px-4 py-2.5 text-xs text-muted">
                    The first 50 keys are shown.
                  </p>
                )}
              </Panel>
            </div>
            <KeyUsage
              usagePlan={plan.id}
              quota={plan.quota}
              names={namesOf(plan.apiKeys.nodes.map((key) => ({ id: key.apiKeyId, label: key.name })))}
            />
            {deleting && (
              <DeleteDialog
                noun="usage plan"
                name={plan.name}
                consequence="A plan that has keys on it is kept: take them off first, in each key's settings."
                onClose={() => setDeleting(false)}
                onDelete={async () => {
                  settled((await request(DeleteUsagePlanDocument, { input: { id } })).deleteUsagePlan);
                  await navigate(paths.usagePlans());
                  await refreshAll();
                }}
              />
            )}
          </Page>
        );
      }}
    </Loaded>
  );
}
