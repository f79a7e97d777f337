import { useQuery } from "@tanstack/react-query";
import type { UseFormRegisterReturn } from "react-hook-form";
import { graphql } from "../api/generated";
import { query } from "../api/query";
import { Loaded } from "../components/loaded";
import { quota, throttle } from "../lib/format";
import { Choice, Choices } from "../ui/field";

const PlanChoicesDocument = graphql(`
  query PlanChoices {
    usagePlans(first: 100) { nodes { id name throttle { rateLimit burstLimit enforcement } quota { limit period enforcement } } }
  }
`);

type Props = { register: () => UseFormRegisterReturn; error: string | undefined };

/** The usage plans that a key may be on. Not drawn before they are known: a box that comes later is unticked. */
export function PlanChoices({ register, error }: Props) {
  const plans = useQuery(query(PlanChoicesDocument));
  return (
    <Choices label="Usage plans" error={error}>
      <Loaded query={plans} lines={2}>
        {({ usagePlans }) =>
          usagePlans.nodes.length === 0 ? (
            <p className="text-muted">There are none. Create a usage plan first.</p>
          ) : (
            usagePlans.nodes.map((plan) => (
              <Choice
                key={plan.id}
                label={plan.name}
                note={`${throttle(plan.throttle)} · ${quota(plan.quota)}`}
                value={plan.id}
                {...register()}
              />
            ))
          )
        }
      </Loaded>
    </Choices>
  );
}
