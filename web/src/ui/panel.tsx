import type { ReactNode } from "react";

/** A bordered part of a page with a title of its own. */
export function Panel({
  title,
  note,
  actions,
  flush = false,
  children,
}: {
  title?: string;
  note?: ReactNode;
  actions?: ReactNode;
  /** The content reaches the border: tables. */
  flush?: boolean;
  /** A panel of a title and what it does has none. */
  children?: ReactNode;
}) {
  return (
    <section className="rounded-xl border border-line bg-panel shadow-low">
      {title && (
        <header
          className={`flex min-h-12 flex-wrap items-center gap-x-3 gap-y-1 px-4 py-2 ${children ? "border-b border-line" : ""}`}
        >
          <div className="mr-auto min-w-0">
            <h2 className="text-sm font-semibold">{title}</h2>
            {note && <p className="text-xs text-muted">{note}</p>}
          </div>
          {actions}
        </header>
      )}
      {children && <div className={flush ? "" : "p-4"}>{children}</div>}
    </section>
  );
}

/** Names and values of one thing, in two columns. */
export function Facts({ children }: { children: ReactNode }) {
  return (
    <dl className="grid grid-cols-1 items-center gap-x-8 sm:grid-cols-[max-content_minmax(0,1fr)] sm:gap-y-2.5">
      {children}
    </dl>
  );
}

export function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <>
      <dt className="text-muted">{name}</dt>
      <dd className="min-w-0 max-sm:mb-2.5">{children}</dd>
    </>
  );
}

/** Nothing is here yet: what it would be, and what to do. */
export function Empty({
  title,
  children,
  action,
}: {
  title: string;
  children: ReactNode;
  action?: ReactNode;
}) {
  return (
    <div className="flex flex-col items-center gap-1.5 px-6 py-14 text-center">
      <p className="text-sm font-semibold">{title}</p>
      <p className="max-w-md text-muted">{children}</p>
      {action && <div className="mt-3 flex flex-wrap justify-center gap-2">{action}</div>}
    </div>
  );
}

/** Grey lines that keep the place of what is loading. */
export function Loading({ lines = 5 }: { lines?: number }) {
  return (
    <div role="status" aria-label="Loading" className="flex flex-col gap-3 p-4">
      {Array.from({ length: lines }, (_, line) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the lines are alike and never move
        <div key={line} className="animate-breathe h-4 rounded bg-sunken odd:w-3/4" />
      ))}
    </div>
  );
}
