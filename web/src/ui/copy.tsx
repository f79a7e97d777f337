import { Check, Copy } from "lucide-react";
import { useEffect, useState } from "react";
import { copyText } from "../lib/clipboard";
import { toast } from "./toast";

/** How long the tick stays after a copy. */
const TICK_MS = 1600;

function useCopy(text: string, what: string) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), TICK_MS);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = async () => {
    if (await copyText(text)) {
      setCopied(true);
      toast(`${what} copied`);
    } else {
      toast("The browser refused to copy. Select the text instead.", "bad");
    }
  };
  return { copied, copy };
}

export function CopyButton({
  text,
  what,
  className = "",
}: {
  text: string;
  what: string;
  className?: string;
}) {
  const { copied, copy } = useCopy(text, what);
  return (
    <button
      type="button"
      onClick={copy}
      aria-label={`Copy ${what}`}
      title={`Copy ${what}`}
      className={`inline-flex size-6 shrink-0 items-center justify-center rounded-sm text-muted transition-colors hover:bg-sunken hover:text-ink ${className}`}
    >
      {copied ? (
        <Check size={13} aria-hidden="true" className="text-ok" />
      ) : (
        <Copy size={13} aria-hidden="true" />
      )}
    </button>
  );
}

/** A short value in monospace with its copy button: an id, a URL. */
export function CopyText({ text, what }: { text: string; what: string }) {
  return (
    <span className="inline-flex max-w-full min-w-0 items-center gap-1">
      <code className="truncate font-mono text-xs">{text}</code>
      <CopyButton text={text} what={what} />
    </span>
  );
}

/** Lines to run or to paste. */
export function CodeBlock({ text, what }: { text: string; what: string }) {
  const { copied, copy } = useCopy(text, what);
  return (
    <div className="flex items-stretch overflow-hidden rounded-lg border border-line bg-code">
      <pre className="min-w-0 flex-1 px-3.5 py-3 font-mono text-xs leading-5 wrap-anywhere whitespace-pre-wrap">
        <code>{text}</code>
      </pre>
      <button
        type="button"
        onClick={copy}
        aria-label={`Copy ${what}`}
        className="inline-flex items-center gap-1.5 border-l border-line px-3 text-xs font-medium text-muted transition-colors hover:bg-sunken hover:text-ink"
      >
        {copied ? (
          <Check size={13} aria-hidden="true" className="text-ok" />
        ) : (
          <Copy size={13} aria-hidden="true" />
        )}
        {copied ? "Copied" : "Copy"}
      </button>
    </div>
  );
}
