import { useMutation, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { request, requestAsNobody, session } from "../api/client";
import { requestIdOf, sentence, settled } from "../api/errors";
import { graphql } from "../api/generated";
import type { InvitationPreviewQuery } from "../api/generated/graphql";
import { queryClient } from "../api/query";
import { LoadError } from "../components/load-error";
import { ViewerDocument } from "../components/viewer";
import { Card } from "../components/visitor-frame";
import { AcceptInvitationDocument, InvitationAcceptForm } from "../forms/invitation-accept";
import { LogInForm } from "../forms/log-in";
import { useLinkToken } from "../lib/link-token";
import { paths } from "../lib/paths";
import { Button } from "../ui/button";
import { Loading } from "../ui/panel";
import { toast } from "../ui/toast";

const InvitationPreviewDocument = graphql(`
  query InvitationPreview($token: String!) {
    invitationPreview(token: $token) { email role hasAccount tenant { id name } }
  }
`);

const route = getRouteApi("/visitor/invitation");

/** Where the link of an invitation leads. */
export function InvitationPage() {
  const [token] = useLinkToken(route.useSearch().token);
  // Not by `query`: the token stays out of the cache's keys.
  const preview = useQuery({
    queryKey: ["invitation"],
    queryFn: async () =>
      (await requestAsNobody(InvitationPreviewDocument, { token: token ?? "" })).invitationPreview,
    enabled: !!token,
    gcTime: 0,
    staleTime: Number.POSITIVE_INFINITY,
  });
  if (!token) {
    return (
      <Card title="Invitation" note="This page is opened by the link in an invitation.">
        <p>
          Open the link again, or{" "}
          <Link {...paths.logIn()} className="font-medium text-accent underline underline-offset-2">
            log in
          </Link>
          .
        </p>
      </Card>
    );
  }
  if (preview.isError) {
    return <LoadError error={preview.error} retry={() => void preview.refetch()} whole />;
  }
  if (!preview.data) {
    return (
      <Card title="Invitation">
        <Loading lines={3} />
      </Card>
    );
  }
  const invited = preview.data;
  return (
    <Card
      title={`Join ${invited.tenant.name}`}
      note={`${invited.email} is invited as ${invited.role.toLowerCase()}.`}
    >
      {invited.hasAccount ? (
        <JoinAsUser token={token} invited={invited} />
      ) : (
        <JoinAsNobody token={token} email={invited.email} />
      )}
    </Card>
  );
}

function JoinAsNobody({ token, email }: { token: string; email: string }) {
  const navigate = useNavigate();
  return (
    <InvitationAcceptForm
      token={token}
      email={email}
      onDone={() => {
        queryClient.clear();
        void navigate(paths.overview());
      }}
    />
  );
}

type Invited = InvitationPreviewQuery["invitationPreview"];

/** Who has an account joins while logged in with it; whoever is not logs in here. */
function JoinAsUser({ token, invited }: { token: string; invited: Invited }) {
  const [loggedIn, setLoggedIn] = useState(0);
  const navigate = useNavigate();
  const viewer = useQuery({
    queryKey: ["invited viewer", loggedIn],
    queryFn: () => request(ViewerDocument),
    retry: false,
    gcTime: 0,
  });
  const join = useMutation({
    mutationFn: async () => {
      settled((await request(AcceptInvitationDocument, { input: { token } })).acceptInvitation);
      await session.moveTo(invited.tenant.name);
    },
    onSuccess: async () => {
      queryClient.clear();
      await navigate(paths.overview());
      toast(`You joined ${invited.tenant.name}`);
    },
    onError: (error) => toast(sentence(error), "bad", requestIdOf(error)),
  });
  if (viewer.isPending) return <Loading lines={3} />;
  const user = viewer.data?.viewer.user;
  if (user?.email.toLowerCase() !== invited.email.toLowerCase()) {
    return (
      <div className="flex flex-col gap-4">
        <p>
          {user
            ? `You are logged in as ${user.email}. Log in as ${invited.email} to join.`
            : "This address has an account. Log in with it to join."}
        </p>
        <LogInForm onDone={() => setLoggedIn((times) => times + 1)} />
      </div>
    );
  }
  return (
    <Button
      look="primary"
      className="h-9 w-full"
      busy={join.isPending}
      onClick={() => join.mutate()}
    >{`Join as ${user.email}`}</Button>
  );
}
