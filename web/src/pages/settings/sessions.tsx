import { useMutation, useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { request } from "../../api/client";
import { requestIdOf, sentence, settled } from "../../api/errors";
import { graphql } from "../../api/generated";
import { query, refreshAll } from "../../api/query";
import { Loaded } from "../../components/loaded";
import { Pager } from "../../components/pager";
import { ago, minute } from "../../lib/format";
import { paths } from "../../lib/paths";
import { browser } from "../../lib/user-agent";
import { Badge } from "../../ui/badge";
import { Button, ButtonLink } from "../../ui/button";
import { Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";
import { toast } from "../../ui/toast";

const SessionsDocument = graphql(`
  query Sessions($after: String) {
    sessions(first: 20, after: $after) {
      nodes { id current address userAgent lastUsedAt createdAt expiresAt }
      pageInfo { hasNextPage hasPreviousPage endCursor }
    }
  }
`);

const RevokeSessionDocument = graphql(`
  mutation RevokeSession($input: DeleteInput!) {
    revokeSession(input: $input) { deletedId userErrors { code message param } }
  }
`);

const RevokeOtherSessionsDocument = graphql(`
  mutation RevokeOtherSessions {
    revokeOtherSessions { revoked userErrors { code message param } }
  }
`);

const route = getRouteApi("/tenant/settings/sessions");

const refused = (error: unknown) => toast(sentence(error), "bad", requestIdOf(error));

/** Where one is logged in, and how to end what one does not know. */
export function SessionsPage() {
  const { after } = route.useSearch();
  const sessions = useQuery(query(SessionsDocument, { after }));
  const endOne = useMutation({
    mutationFn: async (id: string) => {
      settled((await request(RevokeSessionDocument, { input: { id } })).revokeSession);
      await refreshAll();
    },
    onSuccess: () => toast("Session ended"),
    onError: refused,
  });
  const endOthers = useMutation({
    mutationFn: async () => {
      const { revoked } = settled((await request(RevokeOtherSessionsDocument)).revokeOtherSessions);
      await refreshAll();
      return revoked ?? 0;
    },
    onSuccess: (ended) =>
      toast(
        ended === 0 ? "There was no other session" : `${ended} ${ended === 1 ? "session" : "sessions"} ended`,
      ),
    onError: refused,
  });
  const nodes = sessions.data?.sessions.nodes ?? [];
  const others = !!after || sessions.data?.sessions.pageInfo.hasNextPage || nodes.length > 1;
  return (
    <Panel
      title="Sessions"
      note="Where you are logged in. End what you do not know, then change your password."
      flush
      actions={
        others && (
          <Button look="danger" busy={endOthers.isPending} onClick={() => endOthers.mutate()}>
            End all other sessions
          </Button>
        )
      }
    >
      <Loaded query={sessions}>
        {({ sessions: { nodes, pageInfo } }) => (
          <>
            <DataTable
              caption="Sessions"
              rows={nodes}
              rowKey={(session) => session.id}
              columns={[
                {
                  header: "Browser",
                  cell: (session) => (
                    <div className="min-w-40">
                      <span className="flex items-center gap-2">
                        <span className="font-medium">{browser(session.userAgent)}</span>
                        {session.current && (
                          <Badge tone="accent" dot>
                            This session
                          </Badge>
                        )}
                      </span>
                      <p className="max-w-80 truncate text-xs text-muted" title={session.userAgent}>
                        {session.userAgent}
                      </p>
                    </div>
                  ),
                },
                {
                  header: "Address",
                  cell: (session) => <code className="font-mono text-xs">{session.address}</code>,
                },
                {
                  header: "Last seen",
                  cell: (session) => (
                    <span className="whitespace-nowrap" title={minute(session.lastUsedAt)}>
                      {ago(session.lastUsedAt, new Date())}
                    </span>
                  ),
                },
                {
                  header: "Logged in",
                  cell: (session) => <span className="whitespace-nowrap">{minute(session.createdAt)}</span>,
                },
                {
                  header: "Actions",
                  hideHeader: true,
                  numeric: true,
                  cell: (session) =>
                    session.current ? (
                      <ButtonLink {...paths.logOut()} preload={false}>
                        Log out
                      </ButtonLink>
                    ) : (
                      <Button
                        aria-label={`End the session of ${browser(session.userAgent)} at ${session.address}`}
                        busy={endOne.isPending && endOne.variables === session.id}
                        onClick={() => endOne.mutate(session.id)}
                      >
                        End
                      </Button>
                    ),
                },
              ]}
            />
            <Pager pageInfo={pageInfo} after={after} first={paths.sessions()} next={paths.sessions} />
          </>
        )}
      </Loaded>
    </Panel>
  );
}
