import { useQuery } from "@tanstack/react-query";
import { graphql } from "../../api/generated";
import { query } from "../../api/query";
import { Loaded } from "../../components/loaded";
import { Page } from "../../components/page";
import { SetPriceForm } from "../../forms/set-price";
import { minute } from "../../lib/format";
import { Panel } from "../../ui/panel";

const PriceDocument = graphql(`
  query Price {
    price { currency perMillionRequests perGbOut freeRequests effectiveFrom }
  }
`);

/** What tenants pay. */
export function PricePage() {
  const answer = useQuery(query(PriceDocument));
  return (
    <Page title="Price" note="What tenants pay.">
      <Loaded query={answer}>
        {({ price }) => (
          <Panel
            title="Present price"
            note={
              price.effectiveFrom
                ? `In force since ${minute(price.effectiveFrom)}.`
                : "Nothing, until you set it."
            }
          >
            <div className="max-w-md">
              <SetPriceForm key={price.effectiveFrom ?? "never"} price={price} />
            </div>
          </Panel>
        )}
      </Loaded>
    </Page>
  );
}
