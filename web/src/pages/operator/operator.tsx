import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, Navigate, useNavigate } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { isSignedOut, query, queryClient } from "../../api/query";
import { LoadError } from "../../components/load-error";
import { ViewerDocument } from "../../components/viewer";
import { Card } from "../../components/visitor-frame";
import { OperatorSessionForm } from "../../forms/operator-session";
import { paths } from "../../lib/paths";
import { Loading } from "../../ui/panel";

const route = getRouteApi("/visitor/operator");

/** The operator's door: takes the one-time link, and lets in whoever is the operator. */
export function OperatorPage() {
  const fromUrl = route.useSearch().token;
  const [token, setToken] = useState(fromUrl);
  const navigate = useNavigate();
  // The token leaves the address bar and the history at once; only this page's memory keeps it.
  useEffect(() => {
    if (fromUrl) void navigate({ ...paths.operator(), replace: true });
  }, [fromUrl, navigate]);

  if (token) {
    return (
      <Card title="Become the operator" note="The link works once. Choose how you log in from now on.">
        <OperatorSessionForm
          token={token}
          onDone={() => {
            queryClient.clear();
            setToken(undefined);
          }}
        />
      </Card>
    );
  }
  return <Door />;
}

function Door() {
  const answer = useQuery(query(ViewerDocument));
  if (answer.data?.viewer.operator) return <Navigate {...paths.tenants()} replace />;
  if (answer.isPending) {
    return (
      <Card title="Operator">
        <Loading lines={3} />
      </Card>
    );
  }
  if (answer.isError && !isSignedOut(answer.error)) {
    return <LoadError error={answer.error} retry={() => void answer.refetch()} whole />;
  }
  return (
    <Card title="Operator" note="This page is for who runs this service.">
      <p>
        Open the one-time operator link that the server printed when it first started, or{" "}
        <Link
          {...paths.logIn(paths.operator().to)}
          className="font-medium text-accent underline underline-offset-2"
        >
          log in as the operator
        </Link>
        .
      </p>
    </Card>
  );
}
