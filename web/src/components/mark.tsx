/** The mark: a gate, half open. */
export function Mark({ size = 22 }: { size?: number }) {
  return (
    <svg viewBox="0 0 32 32" width={size} height={size} aria-hidden="true" className="shrink-0">
      <rect width="32" height="32" rx="8" fill="#0b6e5f" />
      <path d="M9 8v16M9 13l15-4.5" fill="none" stroke="#fff" strokeWidth="3.2" strokeLinecap="round" />
      <path d="M17.5 10.5l3-.9" stroke="#ffb454" strokeWidth="3.2" />
    </svg>
  );
}
