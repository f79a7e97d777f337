import { zodResolver } from "@hookform/resolvers/zod";
import type { ReactNode } from "react";
import {
  type DefaultValues,
  type FieldValues,
  get,
  type Path,
  type UseFormReturn,
  useForm,
} from "react-hook-form";
import { config, type ZodType } from "zod";
import { requestIdOf, sentence, type UserError } from "../api/errors";
import { useViewer } from "../components/viewer";
import { type Action, may, whyNot } from "../lib/roles";
import { Button } from "../ui/button";

// Compiled validators need eval, which the Content-Security-Policy refuses.
config({ jitless: true });

/** A form of the given shape. Names of its fields are the paths of the mutation's input. */
export function useSchemaForm<In extends FieldValues, Out extends FieldValues>(
  schema: ZodType<Out, In>,
  defaultValues: DefaultValues<In>,
): UseFormReturn<In, unknown, Out> {
  return useForm<In, unknown, Out>({ resolver: zodResolver(schema), defaultValues });
}

type Props<In extends FieldValues, Out extends FieldValues> = {
  form: UseFormReturn<In, unknown, Out>;
  /** Sends the values; what the server refuses comes back to be shown at its field. */
  send: (values: Out) => Promise<readonly UserError[]>;
  submit: string;
  onCancel?: () => void;
  children: ReactNode;
  /** Who may not do this sees the form, and why it cannot be sent. */
  needs?: Action;
  /** The one button fills the width: sign-up, log-in. */
  wide?: boolean;
};

/** One form, one action. */
export function Form<In extends FieldValues, Out extends FieldValues>({
  form,
  send,
  submit,
  onCancel,
  needs,
  wide,
  children,
}: Props<In, Out>) {
  const role = useViewer()?.role;
  const refused = needs && !may(role, needs);
  const { errors, isSubmitting } = form.formState;
  const onSubmit = form.handleSubmit(async (values) => {
    try {
      showUserErrors(form, await send(values));
    } catch (error) {
      const id = requestIdOf(error);
      form.setError("root", { message: id ? `${sentence(error)} Request id ${id}` : sentence(error) });
    }
  });
  return (
    <form onSubmit={onSubmit} noValidate className="flex flex-col gap-4">
      <fieldset disabled={refused} className="flex min-w-0 flex-col gap-4">
        {children}
      </fieldset>
      {errors.root?.message && (
        <p role="alert" className="rounded-md bg-bad-soft px-3 py-2 break-words text-bad">
          {errors.root.message}
        </p>
      )}
      {refused ? (
        <p className="text-muted">{whyNot(role, needs)}</p>
      ) : (
        <div className={wide ? "flex flex-col" : "flex justify-end gap-2"}>
          {onCancel && <Button onClick={onCancel}>Cancel</Button>}
          <Button type="submit" look="primary" busy={isSubmitting} className={wide ? "h-9" : ""}>
            {submit}
          </Button>
        </div>
      )}
    </form>
  );
}

/** Each refusal at the field that `param` names; those that name none of this form's fields, at its foot. */
function showUserErrors<In extends FieldValues, Out extends FieldValues>(
  form: UseFormReturn<In, unknown, Out>,
  userErrors: readonly UserError[],
) {
  const values = form.getValues();
  const unplaced: string[] = [];
  for (const { param, message } of userErrors) {
    const name = fieldOf(param);
    if (name && get(values, name) !== undefined)
      form.setError(name as Path<In>, { message }, { shouldFocus: true });
    else unplaced.push(message);
  }
  if (unplaced.length > 0) form.setError("root", { message: unplaced.join(" ") });
}

/** `input.variables[0].name` as the form's `variables.0.name`. */
export function fieldOf(param: string | null | undefined): string | undefined {
  return param?.replace(/^input\./, "").replace(/\[(\d+)\]/g, ".$1");
}
