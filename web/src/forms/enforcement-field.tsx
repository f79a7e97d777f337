import type { ComponentProps } from "react";
import { SelectField } from "../ui/field";

/** Whether a limit refuses what is beyond it, or only tells of it. */
export function EnforcementField(props: Omit<ComponentProps<typeof SelectField>, "children">) {
  return (
    <SelectField {...props}>
      <option value="HARD">Calls are refused</option>
      <option value="SHADOW">Calls pass and are reported</option>
    </SelectField>
  );
}
