import { getRouteApi } from "@tanstack/react-router";
import { AuditLog } from "../../components/audit-log";
import { Page } from "../../components/page";
import { paths } from "../../lib/paths";

/** What entries of the installation are about, and what is done to each. */
const ACTIONS = {
  join_token: ["create", "delete"],
  node: ["revoke"],
  operator: ["create"],
  price: ["set"],
  quarantined_segment: ["settle", "download"],
  session: ["create", "delete", "revoke"],
  tenant: ["update_limits", "suspend", "resume", "close", "reopen", "export", "erase"],
  tenant_invitation: ["create", "delete"],
};

const route = getRouteApi("/installation/operator/audit");

/** What was done to the installation: by its operator, and by commands on its machine. */
export function OperatorAuditPage() {
  return (
    <Page title="Audit log" note="What the operator did, and the commands that changed the installation.">
      <AuditLog
        search={route.useSearch()}
        address={paths.operatorAudit}
        of="the installation"
        actions={ACTIONS}
        nameless={(userId) => (userId ? "a former operator" : "a command on the machine")}
      />
    </Page>
  );
}
