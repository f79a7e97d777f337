import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { request } from "../api/client";
import { requestIdOf, sentence, settled } from "../api/errors";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { toast } from "../ui/toast";

const EnableApiKeyDocument = graphql(`
  mutation EnableApiKey($input: UpdateApiKeyInput!) {
    updateApiKey(input: $input) { apiKey { id enabled } userErrors { code message param } }
  }
`);

/** Whether a key is let in. Moves at once and goes back when the server refuses. */
export function EnabledSwitch({ apiKey }: { apiKey: { id: string; name: string; enabled: boolean } }) {
  const [wanted, setWanted] = useState<boolean>();
  const change = useMutation({
    mutationFn: async (enabled: boolean) => {
      const input = { id: apiKey.id, enabled };
      settled((await request(EnableApiKeyDocument, { input })).updateApiKey);
      // What was wanted is shown until the lists have been asked again.
      await refreshAll();
    },
    onError: (error) => toast(sentence(error), "bad", requestIdOf(error)),
    onSettled: () => setWanted(undefined),
    onSuccess: (_, enabled) => toast(enabled ? `${apiKey.name} is enabled` : `${apiKey.name} is disabled`),
  });
  return (
    <input
      type="checkbox"
      role="switch"
      aria-label={`${apiKey.name} enabled`}
      checked={wanted ?? apiKey.enabled}
      onChange={(event) => {
        setWanted(event.target.checked);
        change.mutate(event.target.checked);
      }}
      className="switch align-middle"
    />
  );
}
