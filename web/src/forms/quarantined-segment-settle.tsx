import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { TextArea } from "../ui/field";
import { toast } from "../ui/toast";
import { requiredText } from "./fields";
import { Form, useSchemaForm } from "./form";

const SettleQuarantinedSegmentDocument = graphql(`
  mutation SettleQuarantinedSegment($input: SettleQuarantinedSegmentInput!) {
    settleQuarantinedSegment(input: $input) { quarantinedSegment { id } userErrors { code message param } }
  }
`);

const schema = z.object({ note: requiredText("Say what came of it; whoever looks next reads it.") });

export function QuarantinedSegmentSettleForm({ id, onDone }: { id: string; onDone: () => void }) {
  const form = useSchemaForm(schema, { note: "" });
  return (
    <Form
      form={form}
      submit="Settle"
      onCancel={onDone}
      send={async (values) => {
        const input = { quarantinedSegmentId: id, ...values };
        const { quarantinedSegment, userErrors } = (
          await request(SettleQuarantinedSegmentDocument, { input })
        ).settleQuarantinedSegment;
        if (quarantinedSegment) {
          await refreshAll();
          toast("Segment settled");
          onDone();
        }
        return userErrors;
      }}
    >
      <p>
        The segment is open no more, and is kept for 90 days. This changes nothing in the ledger: what it did
        not take stays out.
      </p>
      <TextArea
        label="What came of it"
        hint="Such as: calls of a tenant that a restored database had lost."
        error={form.formState.errors.note?.message}
        {...form.register("note")}
      />
    </Form>
  );
}
