import { useQuery } from "@tanstack/react-query";
import { Link, type LinkProps, Navigate, Outlet, useLocation } from "@tanstack/react-router";
import { Activity, Gauge, Home, KeyRound, LogOut, Network, Receipt, Search, Settings } from "lucide-react";
import { lazy, Suspense, useEffect, useRef, useState } from "react";
import { query } from "../api/query";
import { paths } from "../lib/paths";
import { type Action, may } from "../lib/roles";
import { Loading } from "../ui/panel";
import { LoadError } from "./load-error";
import { Mark } from "./mark";
import { ViewerDocument } from "./viewer";

const Palette = lazy(() => import("./palette").then((module) => ({ default: module.Palette })));

const SECTIONS = [
  { label: "Overview", to: paths.overview(), icon: Home },
  { label: "APIs", to: paths.apis(), icon: Network },
  { label: "Usage plans", to: paths.usagePlans(), icon: Gauge },
  { label: "API keys", to: paths.apiKeys(), icon: KeyRound },
  { label: "Usage", to: paths.usage(), icon: Activity },
  { label: "Billing", to: paths.billing(), icon: Receipt, needs: "readBilling" },
  { label: "Settings", to: paths.settings(), icon: Settings },
] satisfies { label: string; to: LinkProps; icon: typeof Home; needs?: Action }[];

/** The frame of every tenant page: navigation at the left, the page at the right. */
export function Shell() {
  const viewer = useQuery({ ...query(ViewerDocument), staleTime: 60_000 });
  const [searching, setSearching] = useState(false);
  const main = useRef<HTMLElement>(null);
  const { pathname } = useLocation();

  // A new page starts at its own beginning for the keyboard and the screen reader, not in the navigation.
  const shown = useRef(pathname);
  useEffect(() => {
    if (shown.current !== pathname) main.current?.focus({ preventScroll: true });
    shown.current = pathname;
  }, [pathname]);

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key.toLowerCase() === "k" && (event.metaKey || event.ctrlKey)) {
        event.preventDefault();
        setSearching(true);
      }
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, []);

  if (viewer.isError && !viewer.data) {
    return <LoadError error={viewer.error} retry={() => void viewer.refetch()} whole />;
  }
  // The operator has no tenant, so no tenant page has anything to show.
  if (viewer.data?.viewer.operator && !viewer.data.viewer.tenant)
    return <Navigate {...paths.operator()} replace />;

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
          <span className="min-w-0 truncate font-semibold tracking-tight">
            {viewer.data?.viewer.tenant?.name ?? "Tollgate"}
          </span>
          <span className="ml-auto md:hidden">
            <LogOutLink />
          </span>
        </div>
        <div className="px-3 pb-2 max-md:hidden">
          <button
            type="button"
            onClick={() => setSearching(true)}
            className="flex h-8 w-full items-center gap-2 rounded-md border border-line bg-panel px-2.5 text-muted shadow-low transition-colors hover:text-ink"
          >
            <Search size={14} aria-hidden="true" />
            Go to…
            <kbd className="ml-auto font-sans text-2xs">Ctrl K</kbd>
          </button>
        </div>
        <nav aria-label="Main" className="flex gap-0.5 overflow-x-auto px-3 max-md:pb-2 md:flex-col">
          {SECTIONS.filter(({ needs }) => !needs || may(viewer.data?.viewer.role, needs)).map(
            ({ label, to, icon: Icon }) => (
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
            ),
          )}
        </nav>
        <div className="mt-auto flex items-center gap-2 border-line px-4 py-3 max-md:hidden md:border-t">
          <span className="min-w-0 flex-1 truncate text-xs text-muted" title={viewer.data?.viewer.user.email}>
            {viewer.data?.viewer.user.email}
          </span>
          <LogOutLink />
        </div>
      </header>
      <main ref={main} id="main" tabIndex={-1} className="min-w-0">
        {viewer.data ? <Outlet /> : <Loading />}
      </main>
      {searching && (
        <Suspense>
          <Palette onClose={() => setSearching(false)} />
        </Suspense>
      )}
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
