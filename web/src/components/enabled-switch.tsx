import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { request } from "../api/client";
import { requestIdOf, sentence, settled } from "../api/errors";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { toast } from "../ui/toast";
import { useMay } from "./viewer";

const EnableApiKeyDocument = graphql(`
  mutation EnableApiKey($input: UpdateApiKeyInput!) {
    updateApiKey(input: $input) { apiKey { id enabled } userErrors { code message param } }
  }
`);

const EnableAccessKeyDocument = graphql(`
  mutation EnableAccessKey($input: UpdateAccessKeyInput!) {
    updateAccessKey(input: $input) { accessKey { id enabled } userErrors { code message param } }
  }
`);

type Key = { id: string; name: string; enabled: boolean };

/** Whether callers with this API key are let in. */
export function ApiKeySwitch({ apiKey }: { apiKey: Key }) {
  const may = useMay();
  return (
    <EnabledSwitch
      of={apiKey}
      disabled={!may("manageApiKeys")}
      change={async (enabled) =>
        settled((await request(EnableApiKeyDocument, { input: { id: apiKey.id, enabled } })).updateApiKey)
      }
    />
  );
}

/** Whether calls signed with this access key are let in. */
export function AccessKeySwitch({ accessKey }: { accessKey: Key }) {
  const may = useMay();
  return (
    <EnabledSwitch
      of={accessKey}
      disabled={!may("manageAccessKeys")}
      change={async (enabled) =>
        settled(
          (await request(EnableAccessKeyDocument, { input: { id: accessKey.id, enabled } })).updateAccessKey,
        )
      }
    />
  );
}

/** Moves at once and goes back when the server refuses. */
function EnabledSwitch({
  of,
  change,
  disabled,
}: {
  of: Key;
  change: (enabled: boolean) => Promise<unknown>;
  disabled: boolean;
}) {
  const [wanted, setWanted] = useState<boolean>();
  const changing = useMutation({
    mutationFn: async (enabled: boolean) => {
      await change(enabled);
      // What was wanted is shown until the lists have been asked again.
      await refreshAll();
    },
    onError: (error) => toast(sentence(error), "bad", requestIdOf(error)),
    onSettled: () => setWanted(undefined),
    onSuccess: (_, enabled) => toast(enabled ? `${of.name} is enabled` : `${of.name} is disabled`),
  });
  return (
    <input
      type="checkbox"
      role="switch"
      aria-label={`${of.name} enabled`}
      checked={wanted ?? of.enabled}
      disabled={disabled}
      onChange={(event) => {
        setWanted(event.target.checked);
        changing.mutate(event.target.checked);
      }}
      className="switch align-middle"
    />
  );
}
