import { Badge } from "../ui/badge";

type Status = { nodes: number; acknowledged: number; live: boolean; refusals: readonly string[] };

/** How far the nodes are with a deployment. */
export function DeploymentStatus({ status }: { status: Status }) {
  if (status.refusals.length > 0) {
    return (
      <Badge tone="bad" dot>
        Refused
      </Badge>
    );
  }
  const share = `${status.acknowledged} of ${status.nodes} ${status.nodes === 1 ? "node" : "nodes"}`;
  return status.live ? (
    <Badge tone="ok" dot>{`Live on ${share}`}</Badge>
  ) : (
    <Badge tone="warn" dot>{`Reached ${share}`}</Badge>
  );
}

/** Whether callers get what the editor shows. */
export function DraftBadge({ pendingChanges, deployed }: { pendingChanges: boolean; deployed: boolean }) {
  if (!deployed)
    return (
      <Badge tone="neutral" dot>
        Draft, not deployed
      </Badge>
    );
  if (pendingChanges)
    return (
      <Badge tone="warn" dot>
        Draft differs from live
      </Badge>
    );
  return (
    <Badge tone="ok" dot>
      Live
    </Badge>
  );
}
