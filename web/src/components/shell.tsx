import { useQuery } from "@tanstack/react-query";
import { Navigate, Outlet } from "@tanstack/react-router";
import { Activity, Gauge, Home, KeyRound, Network, Receipt, Search, Settings } from "lucide-react";
import { lazy, Suspense, useEffect, useState } from "react";
import { query } from "../api/query";
import { paths } from "../lib/paths";
import { type Action, may } from "../lib/roles";
import { Loading } from "../ui/panel";
import { Frame, type Section } from "./frame";
import { LoadError } from "./load-error";
import { ViewerDocument } from "./viewer";

const Palette = lazy(() => import("./palette").then((module) => ({ default: module.Palette })));

const SECTIONS: (Section & { needs?: Action })[] = [
  { label: "Overview", to: paths.overview(), icon: Home },
  { label: "APIs", to: paths.apis(), icon: Network },
  { label: "Usage plans", to: paths.usagePlans(), icon: Gauge },
  { label: "API keys", to: paths.apiKeys(), icon: KeyRound },
  { label: "Usage", to: paths.usage(), icon: Activity },
  { label: "Billing", to: paths.billing(), icon: Receipt, needs: "readBilling" },
  { label: "Settings", to: paths.settings(), icon: Settings },
];

/** The frame of every tenant page. */
export function Shell() {
  const viewer = useQuery({ ...query(ViewerDocument), staleTime: 60_000 });
  const [searching, setSearching] = useState(false);

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
  const who = viewer.data?.viewer;
  // The operator has no tenant, so no tenant page has anything to show.
  if (who?.operator && !who.tenant) return <Navigate {...paths.tenants()} replace />;

  return (
    <Frame
      name={who?.tenant?.name ?? "Tollgate"}
      email={who?.user.email}
      sections={SECTIONS.filter(({ needs }) => !needs || may(who?.role, needs))}
      search={
        <button
          type="button"
          onClick={() => setSearching(true)}
          className="flex h-8 w-full items-center gap-2 rounded-md border border-line bg-panel px-2.5 text-muted shadow-low transition-colors hover:text-ink"
        >
          <Search size={14} aria-hidden="true" />
          Go to…
          <kbd className="ml-auto font-sans text-2xs">Ctrl K</kbd>
        </button>
      }
      banner={who?.tenant?.status === "SUSPENDED" && <Suspended reason={who.tenant.suspendedReason} />}
    >
      {who ? <Outlet /> : <Loading />}
      {searching && (
        <Suspense>
          <Palette onClose={() => setSearching(false)} />
        </Suspense>
      )}
    </Frame>
  );
}

/** What the operator did to the tenant, and why, where nobody can miss it. */
function Suspended({ reason }: { reason: string | null | undefined }) {
  return (
    <div role="alert" className="border-b border-line bg-bad-soft px-5 py-2.5 text-bad md:px-8">
      <p className="font-semibold">This organisation is suspended</p>
      <p className="wrap-anywhere">
        Calls to its APIs are refused, and nothing can be changed until the operator resumes it.
        {reason && ` The operator says: ${reason}`}
      </p>
    </div>
  );
}
