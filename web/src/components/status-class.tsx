import { statusClass } from "../lib/format";
import { Badge, type Tone } from "../ui/badge";

const TONES: Record<number, Tone> = { 2: "ok", 3: "neutral", 4: "warn", 5: "bad" };

/** The class of a status, in its colour; the status itself where it is known. */
export function StatusClass({ value, exact }: { value: number; exact?: number }) {
  return (
    <Badge tone={TONES[value] ?? "neutral"} dot>
      {exact || statusClass(value)}
    </Badge>
  );
}
