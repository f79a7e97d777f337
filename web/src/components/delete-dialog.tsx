import { type FormEvent, type ReactNode, useState } from "react";
import { requestIdOf, sentence } from "../api/errors";
import { Button } from "../ui/button";
import { Dialog } from "../ui/dialog";
import { TextField } from "../ui/field";
import { toast } from "../ui/toast";

/** Deletes a thing, or does as bad to it, once its name has been typed: what is hard to undo is hard to do by accident. */
export function DeleteDialog({
  verb = "Delete",
  done,
  noun,
  name,
  consequence,
  onDelete,
  onClose,
  children,
}: {
  verb?: string;
  /** What is said afterwards. */
  done?: string;
  /** `API`, `usage plan`, … */
  noun: string;
  name: string;
  /** What stops working. */
  consequence: string;
  onDelete: () => Promise<unknown>;
  onClose: () => void;
  /** What else is asked, before the name. */
  children?: ReactNode;
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
      toast(done ?? `Deleted ${name}`);
      onClose();
    } catch (cause) {
      const id = requestIdOf(cause);
      setError(id ? `${sentence(cause)} Request id ${id}` : sentence(cause));
    } finally {
      setBusy(false);
    }
  };
  return (
    <Dialog title={`${verb} ${noun}`} onClose={onClose}>
      <form onSubmit={submit} className="flex flex-col gap-4">
        <p>{consequence}</p>
        {children}
        <TextField
          label={`Type ${name} to confirm`}
          value={typed}
          onChange={(event) => setTyped(event.target.value)}
          error={error}
        />
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" look="danger" busy={busy} disabled={typed !== name}>
            {`${verb} ${noun}`}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
