import type { SelectHTMLAttributes } from "react";
import type { Role } from "../api/generated/graphql";
import { may } from "../lib/roles";
import { SelectField } from "../ui/field";
import { useViewer } from "./viewer";

/** Each role and what it is for, from the one that may most. */
export const ROLES: readonly { role: Role; label: string; note: string }[] = [
  { role: "OWNER", label: "Owner", note: "Everything, owners too." },
  { role: "ADMIN", label: "Admin", note: "Everything but owners." },
  { role: "DEVELOPER", label: "Developer", note: "Builds and deploys APIs, plans and keys." },
  { role: "BILLING", label: "Billing", note: "Sees APIs, usage and bills; changes nothing." },
  { role: "VIEWER", label: "Viewer", note: "Sees all but changes nothing." },
];

/** The roles that who looks may give. */
export function useRoles() {
  const role = useViewer()?.role;
  return ROLES.filter((one) => one.role !== "OWNER" || may(role, "manageOwners"));
}

/** Chooses a role; only owners see the owner's. */
export function RoleSelect({
  chosen,
  ...rest
}: { chosen: string | undefined; error?: string | undefined } & SelectHTMLAttributes<HTMLSelectElement>) {
  return (
    <SelectField label="Role" hint={ROLES.find(({ role }) => role === chosen)?.note} {...rest}>
      {useRoles().map(({ role, label }) => (
        <option key={role} value={role}>
          {label}
        </option>
      ))}
    </SelectField>
  );
}
