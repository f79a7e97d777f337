import { ChevronRight } from "lucide-react";
import { createContext, type ReactNode, useContext, useEffect, useId, useRef, useState } from "react";
import { type FieldValues, get, type Path, type UseFormReturn } from "react-hook-form";
import { Badge } from "../ui/badge";
import { isSet } from "./set";

/** What of a form is asked for, from outside it; asking for the same again is another object. */
export type Asked = { section: string };

/** Sections with this name open, and their first field gets the focus. */
export const AskedSection = createContext<Asked | undefined>(undefined);

/** `then` runs whenever this section is asked for. */
function useAsked(name: string, then: () => void) {
  const asked = useContext(AskedSection);
  const latest = useRef(then);
  latest.current = then;
  useEffect(() => {
    if (asked?.section === name) latest.current();
  }, [asked, name]);
}

/** Into sight, with the focus on its first field of this kind, where it has one. */
function focusFirst(part: HTMLElement | null, among: string) {
  part?.scrollIntoView({ block: "nearest" });
  part?.querySelector<HTMLElement>(among)?.focus();
}

const ANY_FIELD =
  "input:not(:disabled, [readonly]), select:not(:disabled), textarea:not(:disabled, [readonly])";

/** A part of a form that is always in sight, by the name under which it can be asked for. */
export function Part({ name, children }: { name: string; children: ReactNode }) {
  const ref = useRef<HTMLDivElement>(null);
  useAsked(name, () => focusFirst(ref.current, ANY_FIELD));
  return (
    <div ref={ref} className="flex scroll-my-4 flex-col gap-4">
      {children}
    </div>
  );
}

/** A part of a form that is folded away until something in it is set, in error or asked for. */
export function Section<In extends FieldValues, Out extends FieldValues>({
  form,
  name,
  title,
  fields,
  set,
  children,
}: {
  form: UseFormReturn<In, unknown, Out>;
  /** Under which it can be asked for. */
  name: string;
  title: string;
  /** All that stand in it. */
  fields: readonly Path<In>[];
  /** Whether what they hold is not the default, where the default is not empty. */
  set?: boolean;
  children: ReactNode;
}) {
  const values = form.watch([...fields]);
  const isOwn = set ?? isSet(values);
  const { errors, submitCount } = form.formState;
  const wrong = fields.some((field) => get(errors, field) !== undefined);
  const [open, setOpen] = useState(isOwn);
  const ref = useRef<HTMLDetailsElement>(null);
  const titleId = useId();

  // What is folded away takes no focus: it opens first.
  const show = (among: string) => {
    if (ref.current) ref.current.open = true;
    focusFirst(ref.current, among);
  };
  useAsked(name, () => show(ANY_FIELD));
  // biome-ignore lint/correctness/useExhaustiveDependencies: each attempt to send opens it again
  useEffect(() => {
    if (!wrong || !ref.current) return;
    ref.current.open = true;
    const first = ref.current.closest("form")?.querySelector("[aria-invalid=true]");
    const isHere = first && ref.current.contains(first);
    if (isHere && !document.activeElement?.matches("[aria-invalid=true]")) show("[aria-invalid=true]");
  }, [wrong, submitCount]);

  return (
    <details
      ref={ref}
      open={open}
      onToggle={(event) => setOpen(event.currentTarget.open)}
      className="group scroll-my-4 rounded-lg border border-line"
    >
      <summary className="flex min-h-10 list-none items-center gap-2 rounded-lg px-3 hover:bg-sunken [&::-webkit-details-marker]:hidden">
        <ChevronRight
          size={14}
          aria-hidden="true"
          className="shrink-0 text-muted transition-transform group-open:rotate-90"
        />
        <span id={titleId} className="mr-auto font-medium">
          {title}
        </span>
        {wrong ? (
          <Badge tone="bad">To correct</Badge>
        ) : isOwn ? (
          <Badge tone="accent">Set</Badge>
        ) : (
          <Badge>Default</Badge>
        )}
      </summary>
      <fieldset aria-labelledby={titleId} className="flex min-w-0 flex-col gap-4 px-3 pt-1 pb-4">
        {children}
      </fieldset>
    </details>
  );
}
