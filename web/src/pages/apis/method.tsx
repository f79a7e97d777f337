import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useLocation, useNavigate } from "@tanstack/react-router";
import { ArrowLeft } from "lucide-react";
import { useEffect, useState } from "react";
import { request } from "../../api/client";
import { settled } from "../../api/errors";
import { graphql } from "../../api/generated";
import { query, refreshAll } from "../../api/query";
import { DeleteDialog } from "../../components/delete-dialog";
import { Flow } from "../../components/flow";
import { Loaded } from "../../components/loaded";
import { useMay } from "../../components/viewer";
import { answersByList, RouteForm, RouteMockDocument } from "../../forms/route";
import { type Asked, AskedSection } from "../../forms/section";
import { type Around, flow } from "../../lib/flow";
import { paths } from "../../lib/paths";
import { subtree } from "../../lib/tree";
import { Button } from "../../ui/button";
import { Panel } from "../../ui/panel";
import { toast } from "../../ui/toast";
import { Missing } from "../not-found";
import { DeleteRouteDocument, type Route } from "./routes";
import { useTree } from "./tree";

const AroundMethodDocument = graphql(`
  query AroundMethod($id: ID!) {
    node(id: $id) {
      __typename
      ... on Api {
        dialect apiKeyLocations
        corsConfiguration { allowOrigins }
        stages(first: 100) {
          nodes {
            id name rateLimitHeaders
            throttle { rateLimit burstLimit enforcement }
            routeThrottles { routeKey rateLimit burstLimit enforcement }
            concurrencyLimit { maxInFlight }
            routeConcurrencyLimits { routeKey maxInFlight }
          }
        }
      }
    }
  }
`);

const page = getRouteApi("/tenant/apis/$api/resources/$route");

/** One method: the way of its calls as a diagram, and the form that sets it. */
export function MethodPage() {
  const { api, route: id } = page.useParams();
  const tree = useTree(api);
  const around = useQuery(query(AroundMethodDocument, { id: api }));
  return (
    <div className="flex min-w-0 flex-col gap-5">
      <Link
        {...paths.resources(api)}
        className="inline-flex items-center gap-1.5 self-start rounded-sm text-muted hover:text-ink hover:underline lg:hidden"
      >
        <ArrowLeft size={14} aria-hidden="true" />
        All resources
      </Link>
      <Loaded query={tree} lines={8}>
        {(root) => {
          const route = subtree(root)
            .flatMap(({ routes }) => routes)
            .find((one) => one.id === id);
          if (!route) return <Missing noun="route" />;
          return (
            <Loaded query={around} lines={8}>
              {({ node }) =>
                node?.__typename === "Api" && (
                  <Method key={id} api={api} route={route} around={{ ...node, stages: node.stages.nodes }} />
                )
              }
            </Loaded>
          );
        }}
      </Loaded>
    </div>
  );
}

function Method({ api, route, around }: { api: string; route: Route; around: Around }) {
  const may = useMay();
  const navigate = useNavigate();
  const section = useLocation({ select: ({ hash }) => hash });
  const [asked, setAsked] = useState<Asked>();
  const [deleting, setDeleting] = useState(false);
  const integration = useMock(route);
  // By an address, or by going back; a box that is clicked twice asks twice.
  useEffect(() => {
    if (section) setAsked({ section });
  }, [section]);
  return (
    <>
      <Panel
        title={route.routeKey}
        note="What happens to a call, in the draft. Each box leads to where it is set."
        actions={may("manageApis") && <Button onClick={() => setDeleting(true)}>Delete method</Button>}
      >
        <Flow
          boxes={flow({ ...route, integration }, around)}
          routeKey={route.routeKey}
          api={api}
          ask={(name) => setAsked({ section: name })}
        />
      </Panel>
      <Panel title="Settings" note="Changes reach callers when you deploy.">
        <div className="max-w-xl">
          <AskedSection value={asked}>
            <RouteForm
              api={api}
              route={route}
              onDone={() => toast("Saved to the draft. Deploy to make it live.")}
            />
          </AskedSection>
        </div>
      </Panel>
      {deleting && (
        <DeleteDialog
          noun="route"
          name={route.routeKey}
          consequence="The route leaves the draft. Stages serve it until the next deployment."
          onClose={() => setDeleting(false)}
          onDelete={async () => {
            settled((await request(DeleteRouteDocument, { input: { id: route.id } })).deleteRoute);
            await navigate(paths.resources(api));
            await refreshAll();
          }}
        />
      )}
    </>
  );
}

/** The integration, with the lists of a mock, which are asked for one at a time. */
function useMock({ integration }: Route) {
  const id = integration?.id ?? "";
  const answer = useQuery({
    ...query(RouteMockDocument, { id }),
    enabled: !!integration && answersByList(integration.type),
  });
  const lists = answer.data?.node;
  return integration && lists?.__typename === "Integration" ? { ...integration, ...lists } : integration;
}
