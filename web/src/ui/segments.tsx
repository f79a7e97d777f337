import { Link, type LinkProps } from "@tanstack/react-router";

/** A few choices of which one holds, each with a URL of its own. */
export function Segments({
  label,
  items,
}: {
  label: string;
  items: readonly { label: string; to: LinkProps }[];
}) {
  return (
    <nav aria-label={label} className="inline-flex h-8 rounded-md border border-line-mid bg-sunken p-0.5">
      {items.map(({ label, to }) => (
        <Link
          key={label}
          {...to}
          replace
          resetScroll={false}
          activeOptions={{ exact: true, includeSearch: true }}
          activeProps={{ className: "bg-panel text-ink! shadow-low" }}
          className="inline-flex items-center rounded-sm px-2.5 text-xs font-medium whitespace-nowrap text-muted hover:text-ink"
        >
          {label}
        </Link>
      ))}
    </nav>
  );
}
