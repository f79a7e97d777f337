import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import type { Signup } from "../api/generated/graphql";
import { useInstallation } from "../components/installation";
import { LoadError } from "../components/load-error";
import { Card } from "../components/visitor-frame";
import { SignUpForm } from "../forms/sign-up";
import { useLinkToken } from "../lib/link-token";
import { paths } from "../lib/paths";
import { Loading } from "../ui/panel";

/** Why nobody signs up here, where nobody may. */
const CLOSED: Record<Exclude<Signup, "OPEN">, string> = {
  INVITE:
    "Accounts are made by invitation here. Ask a member of your organisation for one, or who runs this installation, and open its link.",
  CLOSED: "No accounts are made here. Ask who runs this installation.",
};

const route = getRouteApi("/visitor/sign-up");

/** Also where the link of the operator's invitation leads. */
export function SignUpPage() {
  const [token] = useLinkToken(route.useSearch().token);
  const installation = useInstallation();
  return (
    <>
      {installation.data ? (
        <SignUp signup={installation.data.signup} token={token} />
      ) : installation.isError ? (
        <LoadError error={installation.error} retry={() => void installation.refetch()} whole />
      ) : (
        <Card title="Create your account">
          <Loading lines={5} />
        </Card>
      )}
      <p className="mt-5 text-center text-muted">
        Have an account?{" "}
        <Link {...paths.logIn()} className="font-medium text-accent underline underline-offset-2">
          Log in
        </Link>
      </p>
    </>
  );
}

function SignUp({ signup, token }: { signup: Signup; token: string | undefined }) {
  const navigate = useNavigate();
  const [sentTo, setSentTo] = useState<string>();
  if (signup !== "OPEN" && !(signup === "INVITE" && token)) {
    return (
      <Card title="Create your account">
        <p>{CLOSED[signup]}</p>
      </Card>
    );
  }
  if (sentTo) {
    return (
      <Card title="Look into your mail">
        <p className="wrap-anywhere">
          A letter is on its way to <strong>{sentTo}</strong>. Open the link in it within a day, and your
          account begins.
        </p>
      </Card>
    );
  }
  return (
    <Card title="Create your account" note="Publish an API, issue keys, meter and bill each call.">
      <SignUpForm token={token} onDone={() => void navigate(paths.overview())} onSent={setSentTo} />
    </Card>
  );
}
