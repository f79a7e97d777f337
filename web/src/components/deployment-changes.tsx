import { changes as fieldsOf } from "../lib/diff";
import { count } from "../lib/format";
import { Panel } from "../ui/panel";
import { Difference } from "./audit-entry";

type Found = {
  total: number;
  changes: readonly { path: readonly string[]; before?: string | null; after?: string | null }[];
};

/** What is another in the later of two frozen drafts, field by field. */
export function DeploymentChanges({ title, note, found }: { title: string; note: string; found: Found }) {
  const rows = found.changes.flatMap(({ path, before, after }) => {
    const at = path.join(" › ");
    return fieldsOf(before, after).map(({ field, ...sides }) => ({
      field: field === "" ? at : `${at} › ${field}`,
      ...sides,
    }));
  });
  const more = found.total - found.changes.length;
  return (
    <Panel title={title} note={note} flush>
      {found.total === 0 ? <p className="p-4 text-muted">Nothing.</p> : <Difference changes={rows} />}
      {more > 0 && <p className="p-4 text-muted">{`And ${count(more)} more.`}</p>}
    </Panel>
  );
}
