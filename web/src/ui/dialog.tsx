import { X } from "lucide-react";
import { type ReactNode, useEffect, useId, useRef } from "react";
import { IconButton } from "./button";

/**
 * A modal on the browser's own `<dialog>`: it traps focus, closes on Escape and gives focus back, and unlike
 * scripted ones it injects no style that the Content-Security-Policy would refuse.
 */
export function Dialog({
  title,
  onClose,
  children,
}: {
  title: string;
  onClose: () => void;
  children: ReactNode;
}) {
  const ref = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  useEffect(() => {
    const dialog = ref.current;
    dialog?.showModal();
    // The browser would choose the close button, which comes first.
    dialog?.querySelector<HTMLElement>("input, select, textarea")?.focus();
    return () => dialog?.close();
  }, []);
  return (
    <dialog
      ref={ref}
      aria-labelledby={titleId}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      // The browser closes it by itself when Escape is pressed twice.
      onClose={() => ref.current?.open === false && onClose()}
      className="animate-rise w-[calc(100%-2rem)] max-w-lg rounded-xl border border-line bg-panel p-0 shadow-high"
    >
      <header className="flex items-center justify-between border-b border-line px-5 py-3.5">
        <h2 id={titleId} className="text-sm font-semibold">
          {title}
        </h2>
        <IconButton label="Close" onClick={onClose}>
          <X size={15} aria-hidden="true" />
        </IconButton>
      </header>
      <div className="p-5">{children}</div>
    </dialog>
  );
}
