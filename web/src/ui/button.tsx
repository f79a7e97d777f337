import { Link, type LinkProps } from "@tanstack/react-router";
import type { ButtonHTMLAttributes, ReactNode } from "react";

type Look = "primary" | "secondary" | "quiet" | "danger";

const BASE =
  "inline-flex h-8 shrink-0 items-center justify-center gap-1.5 rounded-md px-3 font-medium whitespace-nowrap " +
  "transition-colors duration-100 disabled:opacity-55 aria-disabled:opacity-55";

const LOOKS: Record<Look, string> = {
  primary: "bg-accent text-on-accent shadow-low enabled:hover:bg-accent-strong [a&]:hover:bg-accent-strong",
  secondary:
    "border border-line-mid bg-panel text-ink shadow-low enabled:hover:bg-sunken [a&]:hover:bg-sunken",
  quiet: "text-muted enabled:hover:bg-sunken enabled:hover:text-ink [a&]:hover:bg-sunken [a&]:hover:text-ink",
  danger: "border border-bad bg-panel text-bad enabled:hover:bg-bad-soft",
};

type ButtonProps = ButtonHTMLAttributes<HTMLButtonElement> & { look?: Look; busy?: boolean };

export function Button({ look = "secondary", busy = false, className = "", children, ...rest }: ButtonProps) {
  return (
    <button
      type="button"
      {...rest}
      disabled={busy || rest.disabled}
      aria-busy={busy || undefined}
      className={`${BASE} ${LOOKS[look]} ${className}`}
    >
      {children}
      {busy && <span aria-hidden="true" className="animate-breathe size-1.5 rounded-full bg-current" />}
    </button>
  );
}

/** A link that looks like a button: it goes somewhere, and opens in a new tab like any link. */
export function ButtonLink({
  look = "secondary",
  className = "",
  children,
  ...to
}: LinkProps & { look?: Look; className?: string; children: ReactNode }) {
  return (
    <Link {...to} className={`${BASE} ${LOOKS[look]} ${className}`}>
      {children}
    </Link>
  );
}

/** A square button that holds only an icon; `label` is its name. */
export function IconButton({
  label,
  className = "",
  children,
  ...rest
}: ButtonHTMLAttributes<HTMLButtonElement> & { label: string }) {
  return (
    <button
      type="button"
      {...rest}
      aria-label={label}
      title={label}
      className={`inline-flex size-7 shrink-0 items-center justify-center rounded-md text-muted transition-colors hover:bg-sunken hover:text-ink ${className}`}
    >
      {children}
    </button>
  );
}
