import { Link, type LinkProps, useLocation } from "@tanstack/react-router";
import { ChevronRight } from "lucide-react";
import { type ReactNode, useEffect, useRef } from "react";

export type Crumb = { label: string; to: LinkProps };

/** A page's title, where it stands, its actions and its content. */
export function Page({
  title,
  crumbs = [],
  badge,
  note,
  actions,
  tabs,
  children,
}: {
  title: string;
  crumbs?: readonly Crumb[];
  badge?: ReactNode;
  note?: ReactNode;
  actions?: ReactNode;
  tabs?: ReactNode;
  children: ReactNode;
}) {
  return (
    <div className="mx-auto flex w-full max-w-6xl flex-col px-5 pt-5 pb-16 md:px-8">
      <title>{`${title} · Tollgate`}</title>
      <nav aria-label="Breadcrumbs" className="flex h-5 items-center text-xs text-muted">
        <ol className="flex min-w-0 items-center gap-1">
          {crumbs.map((crumb) => (
            <li key={crumb.label} className="flex min-w-0 items-center gap-1">
              <Link {...crumb.to} className="max-w-60 truncate rounded-sm hover:text-ink hover:underline">
                {crumb.label}
              </Link>
              <ChevronRight size={12} aria-hidden="true" className="shrink-0" />
            </li>
          ))}
          <li aria-current="page" className="max-w-60 min-w-0 truncate">
            {title}
          </li>
        </ol>
      </nav>
      <header className="mt-1.5 flex min-h-9 flex-wrap items-center gap-x-3 gap-y-2">
        <h1 className="min-w-0 truncate text-xl font-semibold tracking-tight">{title}</h1>
        {badge}
        <div className="ml-auto flex flex-wrap gap-2">{actions}</div>
      </header>
      {note && <div className="mt-0.5 max-w-2xl text-muted">{note}</div>}
      {tabs}
      <div className="mt-5 flex flex-col gap-5">{children}</div>
    </div>
  );
}

/** The pages of one thing. Links, since each has its own URL; `within` marks one that has pages beneath it. */
export function Tabs({ label, items }: { label: string; items: readonly (Crumb & { within?: boolean })[] }) {
  const bar = useRef<HTMLElement>(null);
  const { pathname } = useLocation();
  // On a telephone the tabs scroll, and the one that is open may be out of sight.
  // biome-ignore lint/correctness/useExhaustiveDependencies: another page is another open tab
  useEffect(() => {
    const open = bar.current?.querySelector("[aria-current=page]");
    open?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [pathname]);
  return (
    <nav ref={bar} aria-label={label} className="mt-4 flex gap-5 overflow-x-auto border-b border-line">
      {items.map((item) => (
        <Link
          key={item.label}
          {...item.to}
          activeOptions={{ exact: !item.within, includeSearch: false }}
          activeProps={{ className: "border-accent! text-ink!" }}
          className="-mb-px border-b-2 border-transparent px-0.5 py-2 font-medium whitespace-nowrap text-muted hover:text-ink"
        >
          {item.label}
        </Link>
      ))}
    </nav>
  );
}
