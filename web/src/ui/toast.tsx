import { X } from "lucide-react";
import { useEffect, useSyncExternalStore } from "react";
import { IconButton } from "./button";

type Toast = { id: number; text: string; tone: "ok" | "bad"; note: string | undefined };

/** Refusals stay longer: they have to be read, and their request id copied. */
const SHOWN_MS = { ok: 3500, bad: 10_000 };

let toasts: readonly Toast[] = [];
let lastId = 0;
const listeners = new Set<() => void>();

function publish(next: readonly Toast[]) {
  toasts = next;
  for (const listener of listeners) listener();
}

/** Says what has just happened, without taking the focus. */
export function toast(text: string, tone: Toast["tone"] = "ok", note?: string) {
  lastId += 1;
  publish([...toasts.slice(-3), { id: lastId, text, tone, note }]);
}

function dismiss(id: number) {
  publish(toasts.filter((toast) => toast.id !== id));
}

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function Toaster() {
  const shown = useSyncExternalStore(subscribe, () => toasts);
  return (
    <section
      aria-label="Notices"
      aria-live="polite"
      className="fixed right-4 bottom-4 z-50 flex w-80 flex-col gap-2"
    >
      {shown.map((toast) => (
        <Notice key={toast.id} toast={toast} />
      ))}
    </section>
  );
}

function Notice({ toast: { id, text, tone, note } }: { toast: Toast }) {
  useEffect(() => {
    const timer = setTimeout(() => dismiss(id), SHOWN_MS[tone]);
    return () => clearTimeout(timer);
  }, [id, tone]);
  return (
    <div className="animate-rise flex items-start gap-2.5 rounded-lg border border-line bg-panel py-2.5 pr-2 pl-3.5 shadow-high">
      <span
        aria-hidden="true"
        className={`mt-1.5 size-2 shrink-0 rounded-full ${tone === "ok" ? "bg-ok" : "bg-bad"}`}
      />
      <div className="min-w-0 flex-1 break-words">
        <p>{text}</p>
        {note && <p className="font-mono text-2xs break-all text-muted">{note}</p>}
      </div>
      <IconButton label="Dismiss" onClick={() => dismiss(id)} className="-my-1">
        <X size={14} aria-hidden="true" />
      </IconButton>
    </div>
  );
}
