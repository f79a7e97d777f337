import { useState } from "react";
import { request } from "../api/client";
import { settled } from "../api/errors";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { ApiKeyRotateForm } from "../forms/api-key-rotate";
import { minute } from "../lib/format";
import { Button } from "../ui/button";
import { CodeBlock } from "../ui/copy";
import { Dialog } from "../ui/dialog";
import { ConfirmDialog } from "./confirm-dialog";
import { useMay } from "./viewer";

const EndApiKeyOverlapDocument = graphql(`
  mutation EndApiKeyOverlap($input: EndApiKeyOverlapInput!) {
    endApiKeyOverlap(input: $input) { apiKey { id } userErrors { code message param } }
  }
`);

type Key = {
  id: string;
  name: string;
  previousHint?: string | null;
  overlapEndsAt?: string | null;
};

/** What another value of a key is got by, and what becomes of the one before. */
export function ApiKeyRotation({ apiKey }: { apiKey: Key }) {
  const may = useMay();
  const [open, setOpen] = useState<"rotate" | "end" | { value: string }>();
  const close = () => setOpen(undefined);
  const { overlapEndsAt } = apiKey;
  const overlaps = overlapEndsAt && Date.parse(overlapEndsAt) > Date.now();
  return (
    <div className="flex flex-wrap items-center gap-2">
      {overlaps && (
        <span>
          The value before, <code className="font-mono text-xs">…{apiKey.previousHint}</code>, works until{" "}
          {minute(overlapEndsAt)}.
        </span>
      )}
      {may("manageApiKeys") &&
        (overlaps ? (
          <Button onClick={() => setOpen("end")}>End it now</Button>
        ) : (
          <>
            <Button onClick={() => setOpen("rotate")}>Rotate</Button>
            {overlapEndsAt && <Button onClick={() => setOpen("end")}>Forget the value before</Button>}
          </>
        ))}
      {open === "rotate" && (
        <Dialog title={`Rotate ${apiKey.name}`} onClose={close}>
          <ApiKeyRotateForm apiKey={apiKey} onDone={(value) => setOpen({ value })} onCancel={close} />
        </Dialog>
      )}
      {open === "end" && (
        <ConfirmDialog
          title={overlaps ? "End the overlap" : "Forget the value before"}
          submit={overlaps ? "End overlap" : "Forget"}
          done="Only the present value works"
          look="danger"
          onConfirm={async () => {
            const input = { id: apiKey.id };
            settled((await request(EndApiKeyOverlapDocument, { input })).endApiKeyOverlap);
            await refreshAll();
          }}
          onClose={close}
        >
          {overlaps
            ? `Calls with the value before, …${apiKey.previousHint}, are refused at once.`
            : `The value before, …${apiKey.previousHint}, works no more. From now on another key can have it.`}
        </ConfirmDialog>
      )}
      {typeof open === "object" && (
        <Dialog title={`New value of ${apiKey.name}`} onClose={close}>
          <div className="flex flex-col gap-4">
            <p>Give it to whoever calls with this key: it is shown only this once.</p>
            <CodeBlock text={open.value} what="API key" />
            <div className="flex justify-end">
              <Button look="primary" onClick={close}>
                I have copied it
              </Button>
            </div>
          </div>
        </Dialog>
      )}
    </div>
  );
}
