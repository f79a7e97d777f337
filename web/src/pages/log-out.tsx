import { useMutation } from "@tanstack/react-query";
import { useEffect } from "react";
import { session } from "../api/client";
import { queryClient } from "../api/query";
import { Card } from "../components/visitor-frame";
import { paths } from "../lib/paths";
import { Button, ButtonLink } from "../ui/button";

/** Coming here logs out: the session ends on the server and in every tab. */
export function LogOutPage() {
  const { mutate, isError, isSuccess } = useMutation({
    mutationFn: () => session.end(),
    onSuccess: () => queryClient.clear(),
  });
  useEffect(() => mutate(), [mutate]);
  if (isError) {
    return (
      <Card title="You are still logged in" note="The server could not be reached to end the session.">
        <Button look="primary" onClick={() => mutate()}>
          Try again
        </Button>
      </Card>
    );
  }
  return (
    <Card
      title={isSuccess ? "You are logged out" : "Logging out"}
      note="The session ends in all tabs of this browser."
    >
      <ButtonLink look="primary" {...paths.logIn()} disabled={!isSuccess}>
        Log in again
      </ButtonLink>
    </Card>
  );
}
