import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { graphql } from "../../api/generated";
import { isSignedOut, query, queryClient } from "../../api/query";
import { LoadError } from "../../components/load-error";
import { Card } from "../../components/visitor-frame";
import { OperatorSessionForm } from "../../forms/operator-session";
import { SetPriceForm } from "../../forms/set-price";
import { minute } from "../../lib/format";
import { paths } from "../../lib/paths";
import { Loading } from "../../ui/panel";

const OperatorDocument = graphql(`
  query Operator {
    viewer { operator user { id email } }
    price { currency perMillionRequests perGbOut freeRequests effectiveFrom }
  }
`);

const route = getRouteApi("/visitor/operator");

/** Who runs the service: takes the one-time link, then sets the price. */
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
  return <OperatorHome />;
}

function OperatorHome() {
  const answer = useQuery(query(OperatorDocument));
  if (answer.data?.viewer.operator) {
    const { viewer, price } = answer.data;
    return (
      <>
        <Card
          title="Price"
          note={
            price.effectiveFrom
              ? `What tenants pay. In force since ${minute(price.effectiveFrom)}.`
              : "What tenants pay. Nothing, until you set it."
          }
        >
          <SetPriceForm key={price.effectiveFrom ?? "never"} price={price} />
        </Card>
        <p className="mt-5 text-center text-muted">
          {`Operator ${viewer.user.email} · `}
          <Link
            {...paths.logOut()}
            preload={false}
            className="font-medium text-accent underline underline-offset-2"
          >
            Log out
          </Link>
        </p>
      </>
    );
  }
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
