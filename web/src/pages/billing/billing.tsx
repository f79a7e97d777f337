import { useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { request } from "../../api/client";
import { graphql } from "../../api/generated";
import { query } from "../../api/query";
import { DownloadButton } from "../../components/download-button";
import { Loaded } from "../../components/loaded";
import { Page } from "../../components/page";
import { UsageStatement } from "../../components/usage-statement";
import { decimal, money, month, monthsBack } from "../../lib/format";
import { paths } from "../../lib/paths";
import { Badge } from "../../ui/badge";
import { Empty, Panel } from "../../ui/panel";

const BillDocument = graphql(`
  query Bill($month: String) {
    bill(month: $month) {
      month currency total open
      lines { description quantity unit unitPrice amount }
    }
  }
`);

const CreateUsageDownloadDocument = graphql(`
  mutation CreateUsageDownload($input: CreateUsageDownloadInput!) {
    createUsageDownload(input: $input) { url userErrors { code message param } }
  }
`);

/** How many months the picker offers. */
const MONTHS = 13;

const route = getRouteApi("/tenant/billing");

export function BillingPage() {
  const chosen = route.useSearch().month;
  const bill = useQuery({ ...query(BillDocument, { month: chosen }), refetchInterval: 30_000 });
  const navigate = useNavigate();
  const months = monthsBack(new Date(), MONTHS);
  const shown = chosen ?? months[0] ?? "";
  if (!months.includes(shown)) months.push(shown);
  return (
    <Page
      title="Billing"
      note="What your callers' traffic costs, from the same rows as the usage table."
      actions={
        <>
          <label className="flex items-center gap-2 text-muted">
            Month
            <select
              className="control w-44 text-ink"
              value={shown}
              onChange={(event) => void navigate(paths.billing(event.target.value))}
            >
              {months.map((option) => (
                <option key={option} value={option}>
                  {month(option)}
                </option>
              ))}
            </select>
          </label>
          <DownloadButton
            ask={async () =>
              (await request(CreateUsageDownloadDocument, { input: { month: shown } })).createUsageDownload
            }
          >
            Download CSV
          </DownloadButton>
        </>
      }
    >
      <Panel flush>
        <Loaded query={bill} lines={6}>
          {({ bill }) => (
            <>
              <div className="flex flex-wrap items-center gap-x-4 gap-y-1 border-b border-line px-4 py-4">
                <div>
                  <p className="text-xs text-muted">{bill.open ? "Total so far" : "Total"}</p>
                  <p className="text-2xl font-semibold tracking-tight tabular-nums">
                    {money(bill.total, bill.currency)}
                  </p>
                </div>
                {bill.open ? <Badge tone="accent">Month is open</Badge> : <Badge>Month is over</Badge>}
              </div>
              {bill.lines.length === 0 ? (
                <Empty title="Nothing billed in this month">
                  Lines appear with the first call that is billed.
                </Empty>
              ) : (
                <div className="overflow-x-auto">
                  <table className="table-cells w-full">
                    <caption className="sr-only">{`Bill of ${month(bill.month)}`}</caption>
                    <thead>
                      <tr>
                        <th scope="col">Description</th>
                        <th scope="col" className="numeric">
                          Quantity
                        </th>
                        <th scope="col">Unit</th>
                        <th scope="col" className="numeric">
                          Unit price
                        </th>
                        <th scope="col" className="numeric">
                          Amount
                        </th>
                      </tr>
                    </thead>
                    <tbody>
                      {bill.lines.map((line) => (
                        <tr key={line.description}>
                          <td>{line.description}</td>
                          <td className="numeric">{decimal(line.quantity)}</td>
                          <td className="text-muted">{line.unit}</td>
                          <td className="numeric">{decimal(line.unitPrice, 2)}</td>
                          <td className="numeric">{money(line.amount, bill.currency)}</td>
                        </tr>
                      ))}
                    </tbody>
                    <tfoot>
                      <tr className="font-semibold">
                        <td colSpan={4}>Total</td>
                        <td className="numeric">{money(bill.total, bill.currency)}</td>
                      </tr>
                    </tfoot>
                  </table>
                </div>
              )}
            </>
          )}
        </Loaded>
      </Panel>
      <UsageStatement />
    </Page>
  );
}
