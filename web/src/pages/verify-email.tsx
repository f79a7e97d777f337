import { useMutation } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { requestAsNobody, session } from "../api/client";
import { requestIdOf, sentence, settled } from "../api/errors";
import { graphql } from "../api/generated";
import { queryClient } from "../api/query";
import { Card } from "../components/visitor-frame";
import { useLinkToken } from "../lib/link-token";
import { paths } from "../lib/paths";
import { Button, ButtonLink } from "../ui/button";

const VerifyEmailDocument = graphql(`
  mutation VerifyEmail($input: VerifyEmailInput!) {
    verifyEmail(input: $input) {
      accessToken expiresInSeconds user { id email } userErrors { code message param }
    }
  }
`);

const route = getRouteApi("/visitor/verify-email");

/** Where the link of a letter leads: it finishes a sign-up, or shows that an address is its owner's. */
export function VerifyEmailPage() {
  const [token] = useLinkToken(route.useSearch().token);
  const navigate = useNavigate();
  const verify = useMutation({
    mutationFn: async (token: string) =>
      settled((await requestAsNobody(VerifyEmailDocument, { input: { token } })).verifyEmail),
    onSuccess: ({ accessToken, expiresInSeconds }) => {
      if (!accessToken || !expiresInSeconds) return;
      queryClient.clear();
      session.start({ accessToken, expiresInSeconds });
      void navigate(paths.overview());
    },
  });
  if (!token) {
    return (
      <Card title="Verify your address" note="This page is opened by the link in a letter.">
        <ButtonLink {...paths.logIn()} className="h-9 w-full">
          Log in
        </ButtonLink>
      </Card>
    );
  }
  if (verify.isSuccess) {
    return (
      <Card title="Your address is verified">
        <p className="mb-4 wrap-anywhere">{verify.data.user?.email}</p>
        <ButtonLink look="primary" {...paths.overview()} className="h-9 w-full">
          Go on
        </ButtonLink>
      </Card>
    );
  }
  const requestId = requestIdOf(verify.error);
  return (
    <Card title="Verify your address" note="Mail programs open links by themselves; this takes a person.">
      {verify.isError && (
        <p role="alert" className="mb-4 rounded-md bg-bad-soft px-3 py-2 break-words text-bad">
          {requestId ? `${sentence(verify.error)} Request id ${requestId}` : sentence(verify.error)}
        </p>
      )}
      <Button
        look="primary"
        className="h-9 w-full"
        busy={verify.isPending}
        onClick={() => verify.mutate(token)}
      >
        This address is mine
      </Button>
    </Card>
  );
}
