import type { FleetState as State } from "../api/generated/graphql";
import { Badge, type Tone } from "../ui/badge";

export const FLEET_STATES: Record<State, { tone: Tone; label: string }> = {
  LIVE: { tone: "ok", label: "Live" },
  OFFLINE: { tone: "warn", label: "Offline" },
  REVOKED: { tone: "bad", label: "Revoked" },
};

export function FleetState({ state }: { state: State }) {
  return (
    <Badge tone={FLEET_STATES[state].tone} dot>
      {FLEET_STATES[state].label}
    </Badge>
  );
}
