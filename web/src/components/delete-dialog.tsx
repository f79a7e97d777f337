import { type FormEvent, useState } from "react";
import { requestIdOf, sentence } from "../api/errors";
import { Button } from "../ui/button";
import { Dialog } from "../ui/dialog";
import { TextField } from "../ui/field";
import { toast } from "../ui/toast";

/** Deletes a thing once its name has been typed: what cannot be undone is hard to do by accident. */
export function DeleteDialog({
  noun,
  name,
  consequence,
  onDelete,
  onClose,
}: {
  /** `API`, `usage plan`, … */
  noun: string;
  name: string;
  /** What stops working. */
  consequence: string;
  onDelete: () => Promise<unknown>;
  onClose: () => void;
}) {
  const [typed, setTyped] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string>();
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (typed !== name) return;
    setBusy(true);
    setError(undefined);
    try {
      await onDelete();
      toast(`Deleted ${name}`);
      onClose();
    } catch (cause) {
      const id = requestIdOf(cause);
      setError(id ? `${sentence(cause)} Request id ${id}` : sentence(cause));
    } finally {
      setBusy(false);
    }
  };
  return (
    <Dialog title={`Delete ${noun}`} onClose={onClose}>
      <form onSubmit={submit} className="flex flex-col gap-4">
        <p>{consequence}</p>
        <TextField
          label={`Type ${name} to confirm`}
          value={typed}
          onChange={(event) => setTyped(event.target.value)}
          error={error}
        />
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" look="danger" busy={busy} disabled={typed !== name}>
            {`Delete ${noun}`}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
