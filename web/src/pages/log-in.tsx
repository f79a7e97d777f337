import { getRouteApi, Link, useRouter } from "@tanstack/react-router";
import { useInstallation } from "../components/installation";
import { Card } from "../components/visitor-frame";
import { LogInForm } from "../forms/log-in";
import { paths, safeNext } from "../lib/paths";

const route = getRouteApi("/visitor/log-in");

export function LogInPage() {
  const { next } = route.useSearch();
  const router = useRouter();
  const signup = useInstallation().data?.signup;
  return (
    <>
      <Card title="Log in" note={next ? "Log in to go on to where you were." : undefined}>
        <LogInForm onDone={() => router.history.push(safeNext(next))} />
      </Card>
      <p className="mt-5 text-center text-muted">
        <Link {...paths.resetPassword()} className="font-medium text-accent underline underline-offset-2">
          Forgot your password?
        </Link>
      </p>
      {signup === "OPEN" && (
        <p className="mt-2 text-center text-muted">
          New here?{" "}
          <Link {...paths.signUp()} className="font-medium text-accent underline underline-offset-2">
            Create an account
          </Link>
        </p>
      )}
    </>
  );
}
