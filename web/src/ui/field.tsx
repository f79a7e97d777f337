import {
  type InputHTMLAttributes,
  type ReactNode,
  type SelectHTMLAttributes,
  type TextareaHTMLAttributes,
  useId,
} from "react";

type Shell = { label: string; hint?: ReactNode; error?: string | undefined; optional?: boolean };

/** What ties a control to its label, its hint and its error. */
type Wiring = { id: string; "aria-describedby": string | undefined; "aria-invalid": true | undefined };

function Labelled({
  label,
  hint,
  error,
  optional,
  children,
}: Shell & { children: (wiring: Wiring) => ReactNode }) {
  const id = useId();
  const described = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ") || undefined;
  return (
    <div className="flex min-w-0 flex-col gap-1.5">
      <label htmlFor={id} className="font-medium">
        {label}
        {optional && <span className="ml-1.5 font-normal text-muted">optional</span>}
      </label>
      {children({ id, "aria-describedby": described, "aria-invalid": error ? true : undefined })}
      {error && (
        <p id={`${id}-error`} className="text-bad">
          {error}
        </p>
      )}
      {hint && (
        <p id={`${id}-hint`} className="text-xs text-muted">
          {hint}
        </p>
      )}
    </div>
  );
}

export function TextField({
  label,
  hint,
  error,
  optional,
  className = "",
  ...rest
}: Shell & InputHTMLAttributes<HTMLInputElement>) {
  return (
    <Labelled {...{ label, hint, error, optional }}>
      {(wiring) => <input autoComplete="off" {...rest} {...wiring} className={`control ${className}`} />}
    </Labelled>
  );
}

export function TextArea({
  label,
  hint,
  error,
  optional,
  className = "",
  ...rest
}: Shell & TextareaHTMLAttributes<HTMLTextAreaElement>) {
  return (
    <Labelled {...{ label, hint, error, optional }}>
      {(wiring) => <textarea rows={3} {...rest} {...wiring} className={`control ${className}`} />}
    </Labelled>
  );
}

export function SelectField({
  label,
  hint,
  error,
  optional,
  className = "",
  ...rest
}: Shell & SelectHTMLAttributes<HTMLSelectElement>) {
  return (
    <Labelled {...{ label, hint, error, optional }}>
      {(wiring) => <select {...rest} {...wiring} className={`control pr-7 ${className}`} />}
    </Labelled>
  );
}

/** On or off, with the meaning of "on" beneath. A check box, shown as a switch. */
export function SwitchField({ label, hint, error, ...rest }: Shell & InputHTMLAttributes<HTMLInputElement>) {
  const id = useId();
  return (
    <div className="flex items-start gap-2.5">
      <input
        {...rest}
        id={id}
        type="checkbox"
        role="switch"
        aria-describedby={hint ? `${id}-hint` : undefined}
        className="switch mt-0.5"
      />
      <div className="flex flex-col gap-0.5">
        <label htmlFor={id} className="font-medium">
          {label}
        </label>
        {hint && (
          <p id={`${id}-hint`} className="text-xs text-muted">
            {hint}
          </p>
        )}
        {error && <p className="text-bad">{error}</p>}
      </div>
    </div>
  );
}

/** Boxes to tick, as one group with one name and one error. */
export function Choices({ label, hint, error, optional, children }: Shell & { children: ReactNode }) {
  const id = useId();
  return (
    <fieldset aria-describedby={hint ? `${id}-hint` : undefined} className="flex min-w-0 flex-col gap-1.5">
      <legend className="mb-1.5 font-medium">
        {label}
        {optional && <span className="ml-1.5 font-normal text-muted">optional</span>}
      </legend>
      {children}
      {error && <p className="text-bad">{error}</p>}
      {hint && (
        <p id={`${id}-hint`} className="text-xs text-muted">
          {hint}
        </p>
      )}
    </fieldset>
  );
}

export function Choice({
  label,
  note,
  ...rest
}: { label: string; note?: ReactNode } & InputHTMLAttributes<HTMLInputElement>) {
  return (
    <label className="flex items-center gap-2.5 rounded-md border border-line px-3 py-2 transition-colors hover:bg-sunken has-checked:border-accent has-checked:bg-accent-soft">
      <input type="checkbox" {...rest} className="size-3.5 accent-accent" />
      <span className="max-w-3/5 shrink-0 truncate font-medium">{label}</span>
      {note && <span className="ml-auto truncate text-xs text-muted">{note}</span>}
    </label>
  );
}
