import type { ReconciliationSearch } from "../lib/paths";
import { SelectField } from "../ui/field";

type Change = { [K in "kind" | "drifting"]?: ReconciliationSearch[K] | undefined };

/** Which counts are shown: of one kind or both, all or only those that are apart from the ledger. */
export function ReconciliationFilter({
  search: { kind, drifting },
  onSet,
}: {
  search: ReconciliationSearch;
  onSet: (change: Change) => void;
}) {
  return (
    <>
      <SelectField
        label="Counted by"
        value={kind ?? ""}
        onChange={({ target: { value } }) =>
          onSet({ kind: value === "ACCESS_LOG" || value === "QUOTA" ? value : undefined })
        }
      >
        <option value="">Any</option>
        <option value="ACCESS_LOG">Access logs</option>
        <option value="QUOTA">Quotas</option>
      </SelectField>
      <SelectField
        label="Show"
        value={drifting ? "drifting" : ""}
        onChange={({ target: { value } }) => onSet({ drifting: value === "drifting" ? true : undefined })}
      >
        <option value="">All</option>
        <option value="drifting">What drifts</option>
      </SelectField>
    </>
  );
}
