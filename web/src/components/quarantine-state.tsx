import { Badge } from "../ui/badge";

/** Whether somebody found out what the segment is. */
export function QuarantineState({ settledAt }: { settledAt: string | null | undefined }) {
  return (
    <Badge tone={settledAt ? "neutral" : "warn"} dot>
      {settledAt ? "Settled" : "Open"}
    </Badge>
  );
}

/** What of a segment is in the ledger. */
export function counts(appliedInPart: boolean | null | undefined): string {
  if (appliedInPart == null) return "not known";
  return appliedInPart ? "in part" : "nothing";
}
