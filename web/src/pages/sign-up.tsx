import { Link, useNavigate } from "@tanstack/react-router";
import { Card } from "../components/visitor-frame";
import { SignUpForm } from "../forms/sign-up";
import { paths } from "../lib/paths";

export function SignUpPage() {
  const navigate = useNavigate();
  return (
    <>
      <Card title="Create your account" note="Publish an API, issue keys, meter and bill each call.">
        <SignUpForm onDone={() => void navigate(paths.overview())} />
      </Card>
      <p className="mt-5 text-center text-muted">
        Have an account?{" "}
        <Link {...paths.logIn()} className="font-medium text-accent underline underline-offset-2">
          Log in
        </Link>
      </p>
    </>
  );
}
