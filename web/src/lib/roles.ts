import type { Role } from "../api/generated/graphql";

/** What the server asks permission for. Reading what a tenant has is open to every role. */
export type Action =
  | "manageApis"
  | "deploy"
  | "manageUsagePlans"
  | "manageApiKeys"
  | "manageAccessKeys"
  | "manageMembers"
  | "manageOwners"
  | "readBilling"
  | "readAudit";

/** The server's table (control-plane/src/access/role.rs), so that nobody is offered what it would refuse. */
const WHO: Record<Action, readonly Role[]> = {
  manageApis: ["OWNER", "ADMIN", "DEVELOPER"],
  deploy: ["OWNER", "ADMIN", "DEVELOPER"],
  manageUsagePlans: ["OWNER", "ADMIN", "DEVELOPER"],
  manageApiKeys: ["OWNER", "ADMIN", "DEVELOPER"],
  manageAccessKeys: ["OWNER", "ADMIN", "DEVELOPER"],
  manageMembers: ["OWNER", "ADMIN"],
  manageOwners: ["OWNER"],
  readBilling: ["OWNER", "ADMIN", "BILLING", "VIEWER"],
  readAudit: ["OWNER", "ADMIN", "DEVELOPER", "VIEWER"],
};

export function may(role: Role | null | undefined, action: Action): boolean {
  return !!role && WHO[action].includes(role);
}

/** `You may look, not change: that takes the role of owner, admin or developer. Yours is viewer.` */
export function whyNot(role: Role | null | undefined, action: Action): string {
  const names = WHO[action].map((name) => name.toLowerCase());
  const last = names.pop();
  const who = names.length > 0 ? `${names.join(", ")} or ${last}` : last;
  return `You may look, not change: that takes the role of ${who}. Yours is ${role?.toLowerCase() ?? "none"}.`;
}
