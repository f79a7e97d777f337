import { useNavigate } from "@tanstack/react-router";
import { useEffect, useState } from "react";

/**
 * The secret of a link that was opened. It leaves the address bar and the history at once; only this page's memory
 * keeps it.
 */
export function useLinkToken(fromUrl: string | undefined): [string | undefined, () => void] {
  const [token, setToken] = useState(fromUrl);
  const navigate = useNavigate();
  useEffect(() => {
    if (fromUrl) void navigate({ to: ".", search: {}, replace: true });
  }, [fromUrl, navigate]);
  return [token, () => setToken(undefined)];
}
