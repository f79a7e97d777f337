import type { Live } from "../api/live";
import { Badge, type Tone } from "../ui/badge";

/** Whether what is shown comes by itself, or is asked for from time to time since the live connection is down. */
export function LiveBadge({ live, everyMs }: { live: Live; everyMs: number }) {
  const looks: Record<Live, [Tone, string]> = {
    live: ["ok", "Live"],
    connecting: ["neutral", "Connecting"],
    down: ["warn", `Not live, asked every ${everyMs / 1000} s`],
  };
  const [tone, label] = looks[live];
  return (
    <Badge tone={tone} dot>
      {label}
    </Badge>
  );
}
