import { useMutation } from "@tanstack/react-query";
import { Download } from "lucide-react";
import type { ReactNode } from "react";
import { requestIdOf, sentence, settled, type UserError } from "../api/errors";
import { Button } from "../ui/button";
import { toast } from "../ui/toast";

type Answer = { url?: string | null; userErrors: readonly UserError[] };

/** Asks for a link that works once, and has the browser store what is behind it. */
export function DownloadButton({
  ask,
  begun,
  children,
}: {
  ask: () => Promise<Answer>;
  /** Said once the link is there, for a file that takes a while to arrive. */
  begun?: string;
  children: ReactNode;
}) {
  const download = useMutation({
    mutationFn: async () => settled(await ask()).url,
    onSuccess: (url) => {
      if (!url) return;
      // A plain navigation: the browser stores the file, the page stays. By path, since the link names the public
      // URL and this page may have been opened by another name of the same server.
      location.assign(new URL(url, location.origin).pathname);
      if (begun) toast(begun);
    },
    onError: (error) => toast(sentence(error), "bad", requestIdOf(error)),
  });
  return (
    <Button onClick={() => download.mutate()} busy={download.isPending}>
      <Download size={14} aria-hidden="true" />
      {children}
    </Button>
  );
}
