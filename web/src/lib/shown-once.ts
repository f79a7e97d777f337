/**
 * Values of keys just made, until the page is left or reloaded. In memory only: what is shown once is not
 * written to a URL, the history or any store of the browser.
 */
const values = new Map<string, string>();

export const shownOnce = {
  keep: (apiKey: string, value: string) => values.set(apiKey, value),
  get: (apiKey: string) => values.get(apiKey),
  clear: () => values.clear(),
};
