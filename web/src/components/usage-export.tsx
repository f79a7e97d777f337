import { useMutation } from "@tanstack/react-query";
import { Download } from "lucide-react";
import { useRef, useState } from "react";
import { request } from "../api/client";
import { RequestError, requestIdOf, sentence, settled } from "../api/errors";
import { graphql } from "../api/generated";
import type { CreateUsageExportInput, UsageExportFormat } from "../api/generated/graphql";
import { count } from "../lib/format";
import { fileName, type Progress, progressOf, readWhole } from "../lib/reading";
import { Button } from "../ui/button";
import { toast } from "../ui/toast";

const CreateUsageExportDocument = graphql(`
  mutation CreateUsageExport($input: CreateUsageExportInput!) {
    createUsageExport(input: $input) { url userErrors { code message param } }
  }
`);

type Asked = Omit<CreateUsageExportInput, "format">;

/** Takes usage away as a file; says how far it is while it comes, and can be stopped. */
export function UsageExport({ asked, until }: { asked: Asked; until: string }) {
  const [progress, setProgress] = useState<Progress>();
  // Read out: that it began, and how it ended; not each piece.
  const [said, setSaid] = useState("");
  const stop = useRef<AbortController>(undefined);
  const download = useMutation({
    mutationFn: async (format: UsageExportFormat) => {
      stop.current = new AbortController();
      setProgress({ lines: 0, part: 0 });
      setSaid(`The ${format} download has begun.`);
      const { createUsageExport } = await request(CreateUsageExportDocument, {
        input: { ...asked, filter: { ...asked.filter, until }, format },
      });
      const { url } = settled(createUsageExport);
      if (!url) return;
      // By path, since the link names the public URL and this page may have been opened by another name of the server.
      const answer = await fetch(new URL(url, location.origin).pathname, { signal: stop.current.signal });
      if (!answer.ok || !answer.body) throw await refusal(answer);
      const follow = progressOf(asked.filter.since, until);
      let lines = 0;
      const parts = await readWhole(answer.body, follow, (progress) => {
        lines = progress.lines;
        setProgress(progress);
      });
      const type = answer.headers.get("content-type") ?? "";
      store(
        new Blob(parts, { type }),
        fileName(answer.headers.get("content-disposition"), `usage.${format.toLowerCase()}`),
      );
      setSaid(`The ${format} download is complete: ${count(lines)} lines.`);
    },
    onError: (error) => {
      setSaid("The download was stopped.");
      if (!stop.current?.signal.aborted) toast(sentence(error), "bad", requestIdOf(error));
    },
    onSettled: () => setProgress(undefined),
  });
  return (
    <div className="flex flex-wrap items-center gap-2">
      <span role="status" className="sr-only">
        {said}
      </span>
      {progress && (
        <>
          <progress aria-label="Download" max={1} value={progress.part} className="h-2 w-28 accent-accent" />
          <span className="text-xs whitespace-nowrap text-muted tabular-nums">
            {count(progress.lines)} lines
          </span>
          <Button look="quiet" onClick={() => stop.current?.abort()}>
            Stop
          </Button>
        </>
      )}
      {(["CSV", "NDJSON"] as const).map((format) => (
        <Button
          key={format}
          onClick={() => download.mutate(format)}
          busy={download.isPending && download.variables === format}
          disabled={download.isPending}
        >
          <Download size={14} aria-hidden="true" />
          {format}
        </Button>
      ))}
    </div>
  );
}

/** Why a link was not answered with its file. */
async function refusal(answer: Response): Promise<RequestError> {
  const problem = (await answer.json().catch(() => ({}))) as {
    detail?: string;
    code?: string;
    requestId?: string;
  };
  const sentence = problem.detail ?? `The server answered with status ${answer.status}.`;
  return new RequestError(sentence, problem.code ?? "internal", problem.requestId);
}

/** Has the browser keep what was read. */
function store(content: Blob, name: string) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
