import { useMutation } from "@tanstack/react-query";
import { Link, type LinkProps } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { request } from "../api/client";
import { requestIdOf, sentence } from "../api/errors";
import { graphql } from "../api/generated";
import { count } from "../lib/format";
import { Badge } from "../ui/badge";
import { Button } from "../ui/button";
import { CodeBlock } from "../ui/copy";
import { TextField } from "../ui/field";
import { Fact, Facts } from "../ui/panel";

const VerifyAuditLogDocument = graphql(`
  query VerifyAuditLog($expected: String) {
    verifyAuditLog(expected: $expected) {
      whole entries head sealedSequence
      fault { sequence entryId reason }
    }
  }
`);

/** Checks the chain of hashes that holds the log together, and says what it found. */
export function AuditVerdict({ entry }: { entry?: ((id: string) => LinkProps) | undefined }) {
  const [expected, setExpected] = useState("");
  const check = useMutation({
    mutationFn: async () =>
      (await request(VerifyAuditLogDocument, { expected: expected.trim() || undefined })).verifyAuditLog,
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    check.mutate();
  };
  const id = requestIdOf(check.error);
  const found = check.data;
  return (
    <form onSubmit={submit} className="flex flex-col gap-4">
      <p>
        Every entry holds a hash of itself and of the one before, so a change, a gap or a missing end is
        found.
      </p>
      <TextField
        label="Head noted before"
        optional
        className="font-mono text-xs"
        hint="From an earlier check: then it also shows whether the log up to there is still the same."
        value={expected}
        onChange={(event) => setExpected(event.target.value)}
      />
      <div aria-live="polite" className="flex flex-col gap-4">
        {check.isError && (
          <p role="alert" className="rounded-md bg-bad-soft px-3 py-2 break-words text-bad">
            {id ? `${sentence(check.error)} Request id ${id}` : sentence(check.error)}
          </p>
        )}
        {found && (
          <>
            <Facts>
              <Fact name="Verdict">
                <Badge tone={found.whole ? "ok" : "bad"} dot>
                  {found.whole ? "Whole" : "Broken"}
                </Badge>
              </Fact>
              <Fact name="Entries that are right">{count(found.entries)}</Fact>
              <Fact name="Sealed up to">{count(found.sealedSequence)}</Fact>
              {found.fault && (
                <Fact name={`Fault at ${count(found.fault.sequence)}`}>
                  <span className="text-bad">{found.fault.reason}</span>{" "}
                  {entry && found.fault.entryId && (
                    <Link
                      {...entry(found.fault.entryId)}
                      className="font-medium text-accent underline underline-offset-2"
                    >
                      Show the entry
                    </Link>
                  )}
                </Fact>
              )}
            </Facts>
            <div className="flex flex-col gap-1.5">
              <p className="font-medium">Head</p>
              <CodeBlock text={found.head} what="head" />
              <p className="text-xs text-muted">Note it outside of this service, for the next check.</p>
            </div>
          </>
        )}
      </div>
      <div className="flex justify-end">
        <Button type="submit" look="primary" busy={check.isPending}>
          {found ? "Verify again" : "Verify now"}
        </Button>
      </div>
    </form>
  );
}
