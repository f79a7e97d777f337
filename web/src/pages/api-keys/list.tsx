import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { graphql } from "../../api/generated";
import { query } from "../../api/query";
import { ApiKeySwitch } from "../../components/enabled-switch";
import { Loaded } from "../../components/loaded";
import { Page } from "../../components/page";
import { Pager } from "../../components/pager";
import { useMay } from "../../components/viewer";
import { ago, day } from "../../lib/format";
import { paths } from "../../lib/paths";
import { Badge } from "../../ui/badge";
import { ButtonLink } from "../../ui/button";
import { Empty, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";

const ApiKeysDocument = graphql(`
  query ApiKeys($after: String) {
    apiKeys(first: 20, after: $after) {
      nodes { id name hint mode enabled expiresAt lastUsedAt usagePlans { id name } }
      pageInfo { hasNextPage hasPreviousPage endCursor }
    }
  }
`);

const route = getRouteApi("/tenant/api-keys");

export function ApiKeysPage() {
  const { after } = route.useSearch();
  const keys = useQuery(query(ApiKeysDocument, { after }));
  const may = useMay();
  const now = new Date();
  const create = may("manageApiKeys") && (
    <ButtonLink look="primary" {...paths.newApiKey()}>
      Create API key
    </ButtonLink>
  );
  return (
    <Page
      title="API keys"
      note="Callers send one with each call. Its plan says what it opens."
      actions={create}
    >
      <Panel flush>
        <Loaded query={keys}>
          {({ apiKeys: { nodes, pageInfo } }) =>
            nodes.length === 0 ? (
              <Empty title="No API keys yet" action={create}>
                A key tells you who calls. Create one on a usage plan; its value is shown once.
              </Empty>
            ) : (
              <>
                <DataTable
                  caption="API keys"
                  rows={nodes}
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
                      header: "Value",
                      cell: (key) => (
                        <code className="font-mono text-xs">{`tg_${key.mode.toLowerCase()}_…${key.hint}`}</code>
                      ),
                    },
                    {
                      header: "Mode",
                      cell: ({ mode }) =>
                        mode === "TEST" ? <Badge tone="warn">Test</Badge> : <Badge>Live</Badge>,
                    },
                    {
                      header: "Usage plans",
                      cell: (key) =>
                        key.usagePlans.map(({ name }) => name).join(", ") || (
                          <span className="text-warn">none</span>
                        ),
                    },
                    {
                      header: "Expires",
                      cell: (key) =>
                        key.expiresAt ? day(key.expiresAt) : <span className="text-muted">never</span>,
                    },
                    {
                      header: "Last used",
                      numeric: true,
                      cell: (key) =>
                        key.lastUsedAt ? ago(key.lastUsedAt, now) : <span className="text-muted">–</span>,
                    },
                    { header: "Enabled", numeric: true, cell: (key) => <ApiKeySwitch apiKey={key} /> },
                  ]}
                />
                <Pager pageInfo={pageInfo} after={after} first={paths.apiKeys()} next={paths.apiKeys} />
              </>
            )
          }
        </Loaded>
      </Panel>
    </Page>
  );
}
