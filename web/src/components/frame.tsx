import { Link, type LinkProps, useLocation } from "@tanstack/react-router";
import { LogOut, type LucideIcon } from "lucide-react";
import { type ReactNode, useEffect, useRef } from "react";
import { paths } from "../lib/paths";
import { Mark } from "./mark";

export type Section = { label: string; to: LinkProps; icon: LucideIcon };

/** Navigation at the left, the page at the right. */
export function Frame({
  name,
  email,
  sections,
  search,
  banner,
  children,
}: {
  /** Whose pages these are. */
  name: string;
  email: string | undefined;
  sections: readonly Section[];
  /** Above the navigation, where there is room. */
  search?: ReactNode;
  /** Above each page. */
  banner?: ReactNode;
  children: ReactNode;
}) {
  const main = useRef<HTMLElement>(null);
  const { pathname } = useLocation();

  // A new page starts at its own beginning for the keyboard and the screen reader, not in the navigation.
  const shown = useRef(pathname);
  useEffect(() => {
    if (shown.current !== pathname) main.current?.focus({ preventScroll: true });
    shown.current = pathname;
  }, [pathname]);

  // On a telephone the sections scroll, and the one that is open may be out of sight.
  const nav = useRef<HTMLElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another page is another open section
  useEffect(() => {
    const open = nav.current?.querySelector("[aria-current=page]");
    open?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [pathname]);

  return (
    <div className="min-h-dvh md:grid md:grid-cols-[14rem_minmax(0,1fr)]">
      <a
        href="#main"
        className="sr-only focus:not-sr-only focus:fixed focus:top-2 focus:left-2 focus:z-50 focus:rounded-md focus:bg-panel focus:px-3 focus:py-2 focus:shadow-high"
      >
        Skip to the page
      </a>
      <header className="flex flex-col gap-1 border-line max-md:border-b md:sticky md:top-0 md:h-dvh md:border-r">
        <div className="flex h-14 items-center gap-2.5 px-4">
          <Mark />
          <span className="min-w-0 truncate font-semibold tracking-tight" title={name}>
            {name}
          </span>
          <span className="ml-auto md:hidden">
            <LogOutLink />
          </span>
        </div>
        {search && <div className="px-3 pb-2 max-md:hidden">{search}</div>}
        <nav
          ref={nav}
          aria-label="Main"
          className="flex gap-0.5 overflow-x-auto px-3 max-md:pb-2 md:flex-col"
        >
          {sections.map(({ label, to, icon: Icon }) => (
            <Link
              key={label}
              {...to}
              activeOptions={{ exact: to.to === "/", includeSearch: false }}
              activeProps={{ className: "bg-sunken text-ink! [&>svg]:text-accent" }}
              className="flex h-8 items-center gap-2.5 rounded-md px-2.5 font-medium whitespace-nowrap text-muted transition-colors hover:bg-sunken hover:text-ink"
            >
              <Icon size={15} aria-hidden="true" />
              {label}
            </Link>
          ))}
        </nav>
        <div className="mt-auto flex items-center gap-2 border-line px-4 py-3 max-md:hidden md:border-t">
          <span className="min-w-0 flex-1 truncate text-xs text-muted" title={email}>
            {email}
          </span>
          <LogOutLink />
        </div>
      </header>
      <main ref={main} id="main" tabIndex={-1} className="min-w-0">
        {banner}
        {children}
      </main>
    </div>
  );
}

function LogOutLink() {
  return (
    <Link
      {...paths.logOut()}
      preload={false}
      aria-label="Log out"
      title="Log out"
      className="inline-flex size-7 items-center justify-center rounded-md text-muted transition-colors hover:bg-sunken hover:text-ink"
    >
      <LogOut size={15} aria-hidden="true" />
    </Link>
  );
}
