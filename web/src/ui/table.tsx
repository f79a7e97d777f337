import { type ColumnDef, type RowData, tableFeatures, useTable } from "@tanstack/react-table";
import type { ReactNode } from "react";

/** Rows come sorted and paged from the server, so the table needs none of the library's own features. */
const features = tableFeatures({});

export type Column<T extends RowData> = {
  /** Names the column. */
  header: string;
  /** Keys its cells where another column may have the same name; the header, when left out. */
  id?: string;
  cell: (row: T) => ReactNode;
  /** Right-aligned, digits of one width. */
  numeric?: boolean;
  /** For actions: the header is read out, not shown. */
  hideHeader?: boolean;
};

type Props<T extends RowData> = {
  /** Says what the table lists, for who cannot see it. */
  caption: string;
  columns: readonly Column<T>[];
  rows: readonly T[];
  rowKey: (row: T) => string;
};

export function DataTable<T extends RowData>({ caption, columns, rows, rowKey }: Props<T>) {
  const idOf = (column: Column<T>) => column.id ?? column.header;
  const defs: ColumnDef<typeof features, T>[] = columns.map((column) => ({
    id: idOf(column),
    header: column.header,
    cell: ({ row }) => column.cell(row.original),
  }));
  const table = useTable({ features, columns: defs, data: rows, getRowId: rowKey });
  const lookOf = new Map(columns.map((column) => [idOf(column), column]));
  return (
    <div className="relative overflow-x-auto">
      <table className="table-cells w-full border-collapse">
        <caption className="sr-only">{caption}</caption>
        <thead>
          {table.getHeaderGroups().map((group) => (
            <tr key={group.id}>
              {group.headers.map((header) => (
                <th key={header.id} scope="col" className={lookOf.get(header.id)?.numeric ? "numeric" : ""}>
                  <span className={lookOf.get(header.id)?.hideHeader ? "sr-only" : ""}>
                    <table.FlexRender header={header} />
                  </span>
                </th>
              ))}
            </tr>
          ))}
        </thead>
        <tbody>
          {table.getRowModel().rows.map((row) => (
            <tr key={row.id}>
              {row.getAllCells().map((cell) => (
                <td key={cell.id} className={lookOf.get(cell.column.id)?.numeric ? "numeric" : ""}>
                  <table.FlexRender cell={cell} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
