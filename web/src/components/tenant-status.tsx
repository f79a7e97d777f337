import type { TenantStatus as Status } from "../api/generated/graphql";
import { Badge, type Tone } from "../ui/badge";

export const STATUSES: Record<Status, { tone: Tone; label: string }> = {
  ACTIVE: { tone: "ok", label: "Active" },
  SUSPENDED: { tone: "warn", label: "Suspended" },
  CLOSED: { tone: "bad", label: "Closed" },
};

export function TenantStatus({ status }: { status: Status }) {
  return (
    <Badge tone={STATUSES[status].tone} dot>
      {STATUSES[status].label}
    </Badge>
  );
}
