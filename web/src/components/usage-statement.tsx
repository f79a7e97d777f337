import { useMutation } from "@tanstack/react-query";
import { Download } from "lucide-react";
import { useState } from "react";
import { request } from "../api/client";
import { requestIdOf, sentence } from "../api/errors";
import { graphql } from "../api/generated";
import { day as named } from "../lib/format";
import { storeFile } from "../lib/store-file";
import { Button } from "../ui/button";
import { Panel } from "../ui/panel";
import { toast } from "../ui/toast";

const UsageStatementDocument = graphql(`
  query UsageStatement($day: String!) {
    usageStatement(day: $day) {
      version tenantId day final
      hours { hour rows root }
      root signature key
    }
  }
`);

/** A day's last hour is sealed 76 hours after it ended. */
const SIGNED_AFTER_MS = (24 + 76) * 3_600_000;

/** What was used on a day, signed: the file that `tollgate verify-usage` checks an export against. */
export function UsageStatement() {
  const [day, setDay] = useState(() => new Date(Date.now() - SIGNED_AFTER_MS).toISOString().slice(0, 10));
  const statement = useMutation({
    mutationFn: async () => (await request(UsageStatementDocument, { day })).usageStatement,
    onSuccess: (statement) => {
      if (statement.final)
        storeFile(`tollgate-usage-${statement.day}.json`, JSON.stringify(statement), "application/json");
      else
        toast(
          `${named(statement.day)} is not signed yet. A day is signed four days later, at 04:00 UTC.`,
          "bad",
        );
    },
    onError: (error) => toast(sentence(error), "bad", requestIdOf(error)),
  });
  return (
    <Panel>
      <form
        className="flex flex-wrap items-center justify-between gap-3"
        onSubmit={(event) => {
          event.preventDefault();
          statement.mutate();
        }}
      >
        <p className="max-w-xl text-muted">
          A day's statement is signed. With it, <code>tollgate verify-usage</code> shows that a CSV has
          exactly the rows that were counted, and that none was changed since.
        </p>
        <div className="flex flex-wrap items-center gap-2">
          <label className="flex items-center gap-2 text-muted">
            Day (UTC)
            <input
              className="control w-40 text-ink"
              type="date"
              required
              value={day}
              onChange={(event) => setDay(event.target.value)}
            />
          </label>
          <Button type="submit" busy={statement.isPending}>
            <Download size={14} aria-hidden="true" />
            Download statement
          </Button>
        </div>
      </form>
    </Panel>
  );
}
