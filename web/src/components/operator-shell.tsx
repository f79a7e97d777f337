import { useQuery } from "@tanstack/react-query";
import { Navigate, Outlet } from "@tanstack/react-router";
import {
  ArchiveX,
  Building2,
  CircleDollarSign,
  MailPlus,
  Scale,
  ScrollText,
  Server,
  Ticket,
} from "lucide-react";
import { query } from "../api/query";
import { paths } from "../lib/paths";
import { Loading } from "../ui/panel";
import { Frame, type Section } from "./frame";
import { LoadError } from "./load-error";
import { ViewerDocument } from "./viewer";

const SECTIONS: Section[] = [
  { label: "Tenants", to: paths.tenants(), icon: Building2 },
  { label: "Invitations", to: paths.tenantInvitations(), icon: MailPlus },
  { label: "Nodes", to: paths.nodes(), icon: Server },
  { label: "Quarantine", to: paths.quarantine(), icon: ArchiveX },
  { label: "Reconciliation", to: paths.tenantReconciliations(), icon: Scale },
  { label: "Join tokens", to: paths.joinTokens(), icon: Ticket },
  { label: "Price", to: paths.price(), icon: CircleDollarSign },
  { label: "Audit log", to: paths.operatorAudit(), icon: ScrollText },
];

/** The frame of every page of the operator; whoever is not goes to the operator's door. */
export function OperatorShell() {
  const viewer = useQuery({ ...query(ViewerDocument), staleTime: 60_000 });
  if (viewer.isError && !viewer.data) {
    return <LoadError error={viewer.error} retry={() => void viewer.refetch()} whole />;
  }
  const who = viewer.data?.viewer;
  if (who && !who.operator) return <Navigate {...paths.operator()} replace />;
  return (
    <Frame name="Operator" email={who?.user.email} sections={SECTIONS}>
      {who ? <Outlet /> : <Loading />}
    </Frame>
  );
}
