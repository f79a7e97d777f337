import { statusClass } from "../lib/format";
import { Badge, type Tone } from "../ui/badge";

const TONES: Record<number, Tone> = { 2: "ok", 3: "neutral", 4: "warn", 5: "bad" };

export function StatusClass({ value }: { value: number }) {
  return (
    <Badge tone={TONES[value] ?? "neutral"} dot>
      {statusClass(value)}
    </Badge>
  );
}
