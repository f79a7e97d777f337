/** Whether a field's value says anything: nothing typed, nothing chosen and nothing switched on is what its default is. */
export function isSet(value: unknown): boolean {
  if (typeof value === "string") return value.trim() !== "";
  if (typeof value === "object" && value !== null) return Object.values(value).some(isSet);
  return !!value;
}
