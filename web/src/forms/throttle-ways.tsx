import type { FieldError, UseFormRegisterReturn } from "react-hook-form";
import { SelectField } from "../ui/field";

type Props = {
  /** Which throttle, at the end of each label: `of throttle 2`. */
  of?: string;
  mode: UseFormRegisterReturn;
  outage: UseFormRegisterReturn;
  wrong?: { mode?: FieldError; outage?: FieldError };
};

/** How a throttle is counted, and what holds while Redis is away. */
export function ThrottleWays({ of = "", mode, outage, wrong }: Props) {
  return (
    <>
      <SelectField label={`Counted ${of}`.trim()} error={wrong?.mode?.message} {...mode}>
        <option value="">As each node is set</option>
        <option value="LEASED">In advance, over all nodes</option>
        <option value="EXACT">Call by call, over all nodes</option>
        <option value="LOCAL">By each node, for its share</option>
      </SelectField>
      <SelectField label={`While Redis is away ${of}`.trim()} error={wrong?.outage?.message} {...outage}>
        <option value="">As each node is set</option>
        <option value="LOCAL_FALLBACK">Each node allows its share</option>
        <option value="FAIL_OPEN">Calls pass</option>
        <option value="FAIL_CLOSED">Calls are refused</option>
      </SelectField>
    </>
  );
}
