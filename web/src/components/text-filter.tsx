import { useState } from "react";
import { TextField } from "../ui/field";

/** A filter that is typed; Enter sets it, and so does leaving the field. Its key is its value: Back changes that. */
export function TextFilter({
  label,
  value,
  onSet,
}: {
  label: string;
  value: string;
  onSet: (text: string | undefined) => void;
}) {
  const [typed, setTyped] = useState(value);
  const set = () => {
    const text = typed.trim();
    if (text !== value) onSet(text || undefined);
  };
  return (
    <TextField
      label={label}
      type="search"
      value={typed}
      onChange={(event) => setTyped(event.target.value)}
      onBlur={set}
      onKeyDown={(event) => {
        if (event.key === "Enter") set();
      }}
    />
  );
}
