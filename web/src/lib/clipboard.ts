/** Copies text; `false` where the browser allows it neither way. */
export async function copyText(text: string): Promise<boolean> {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Falls through: without focus or permission the older way may still do.
    }
  }
  // The clipboard API exists only in secure contexts; consoles on plain http in a private network use this.
  const area = document.createElement("textarea");
  area.value = text;
  area.setAttribute("aria-hidden", "true");
  area.className = "fixed top-0 opacity-0";
  // Inside an open modal dialog nothing outside can take the selection.
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  return copied;
}
