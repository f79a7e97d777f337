import { type FormEvent, type ReactNode, useState } from "react";
import { requestIdOf, sentence } from "../api/errors";
import { Button } from "../ui/button";
import { Dialog } from "../ui/dialog";
import { toast } from "../ui/toast";

/** Asks once more, saying what happens and how it is undone. */
export function ConfirmDialog({
  title,
  submit,
  done,
  look = "primary",
  onConfirm,
  onClose,
  children,
}: {
  title: string;
  submit: string;
  /** What is said afterwards. */
  done: string;
  look?: "primary" | "danger";
  onConfirm: () => Promise<unknown>;
  onClose: () => void;
  children: ReactNode;
}) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string>();
  const onSubmit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setError(undefined);
    try {
      await onConfirm();
      toast(done);
      onClose();
    } catch (cause) {
      const id = requestIdOf(cause);
      setError(id ? `${sentence(cause)} Request id ${id}` : sentence(cause));
    } finally {
      setBusy(false);
    }
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <form onSubmit={onSubmit} className="flex flex-col gap-4">
        <div className="wrap-anywhere">{children}</div>
        {error && (
          <p role="alert" className="rounded-md bg-bad-soft px-3 py-2 break-words text-bad">
            {error}
          </p>
        )}
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" look={look} busy={busy}>
            {submit}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
