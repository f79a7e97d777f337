import { useMutation } from "@tanstack/react-query";
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
  const change = useMutation({
    mutationFn: async (enabled: boolean) => {
      const input = { id: apiKey.id, enabled };
      settled((await request(EnableApiKeyDocument, { input })).updateApiKey);
      // Until the lists have been asked again, the mutation's own value is what is shown.
      await refreshAll();
    },
    onError: (error) => toast(sentence(error), "bad", requestIdOf(error)),
    onSuccess: (_, enabled) => toast(enabled ? `${apiKey.name} is enabled` : `${apiKey.name} is disabled`),
  });
  const shown = change.isPending ? change.variables : apiKey.enabled;
  return (
    <input
      type="checkbox"
      role="switch"
      aria-label={`${apiKey.name} enabled`}
      checked={shown}
      onChange={(event) => change.mutate(event.target.checked)}
      className="switch align-middle"
    />
  );
}
