import type { UseFormRegisterReturn } from "react-hook-form";
import { TextArea } from "../ui/field";

type Name = "clientNetworks" | "origins";

/** From where a key is good. */
export function ApiKeyPlaces({
  register,
  errors,
}: {
  register: (name: Name) => UseFormRegisterReturn;
  errors: { [name in Name]?: { message?: string } };
}) {
  return (
    <div className="grid grid-cols-1 gap-4 sm:grid-cols-2">
      <TextArea
        label="Client networks"
        optional
        placeholder="203.0.113.0/24"
        hint="One a line. Calls from elsewhere are refused; none: from everywhere."
        className="font-mono text-xs"
        error={errors.clientNetworks?.message}
        {...register("clientNetworks")}
      />
      <TextArea
        label="Origins"
        optional
        placeholder="https://*.example.com"
        hint="Pages that may call, one a line, 2,048 characters together. None: any, and programs without a page."
        className="font-mono text-xs"
        error={errors.origins?.message}
        {...register("origins")}
      />
    </div>
  );
}
