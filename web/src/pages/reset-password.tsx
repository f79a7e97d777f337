import { getRouteApi, Link } from "@tanstack/react-router";
import { useState } from "react";
import { Card } from "../components/visitor-frame";
import { PasswordResetForm } from "../forms/password-reset";
import { PasswordResetRequestForm } from "../forms/password-reset-request";
import { useLinkToken } from "../lib/link-token";
import { paths } from "../lib/paths";
import { ButtonLink } from "../ui/button";

const route = getRouteApi("/visitor/reset-password");

/** Asks for the letter with the link; opened by that link, takes the new password. */
export function ResetPasswordPage() {
  const [token, forget] = useLinkToken(route.useSearch().token);
  const [done, setDone] = useState(false);
  const [sentTo, setSentTo] = useState<string>();
  if (done) {
    return (
      <Card title="Your password is set" note="Every session of your account has ended.">
        <ButtonLink look="primary" {...paths.logIn()} className="h-9 w-full">
          Log in
        </ButtonLink>
      </Card>
    );
  }
  if (token) {
    return (
      <>
        <Card title="Set a new password" note="Every session of your account ends with it.">
          <PasswordResetForm token={token} onDone={() => setDone(true)} />
        </Card>
        <p className="mt-5 text-center text-muted">
          Does the link not work?{" "}
          <button
            type="button"
            onClick={forget}
            className="font-medium text-accent underline underline-offset-2"
          >
            Ask for another
          </button>
        </p>
      </>
    );
  }
  if (sentTo) {
    return (
      <Card title="Look into your mail">
        <p className="wrap-anywhere">
          If <strong>{sentTo}</strong> has an account, a letter with a link is on its way. The link works
          once, within an hour.
        </p>
      </Card>
    );
  }
  return (
    <>
      <Card title="Reset your password" note="You get a link by mail.">
        <PasswordResetRequestForm onDone={setSentTo} />
      </Card>
      <p className="mt-5 text-center text-muted">
        <Link {...paths.logIn()} className="font-medium text-accent underline underline-offset-2">
          Back to log-in
        </Link>
      </p>
    </>
  );
}
