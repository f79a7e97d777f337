import { z } from "zod";
import { request } from "../api/client";
import { graphql } from "../api/generated";
import { refreshAll } from "../api/query";
import { TextField } from "../ui/field";
import { requiredText } from "./fields";
import { Form, useSchemaForm } from "./form";

const CreateResourceDocument = graphql(`
  mutation CreateResource($input: CreateResourceInput!) {
    createResource(input: $input) { resource { id path } userErrors { code message param } }
  }
`);

const schema = z.object({ pathPart: requiredText("Name the part of the path.") });

export function ResourceCreateForm({
  api,
  parent,
  onDone,
  onCancel,
}: {
  api: string;
  /** The resource that it is made below. */
  parent: { id: string; path: string };
  onDone: (path: string) => void;
  onCancel: () => void;
}) {
  const form = useSchemaForm(schema, { pathPart: "" });
  const { errors } = form.formState;
  return (
    <Form
      form={form}
      needs="manageApis"
      submit="Add resource"
      onCancel={onCancel}
      send={async ({ pathPart }) => {
        const input = { apiId: api, parentId: parent.id, pathPart };
        const { resource, userErrors } = (await request(CreateResourceDocument, { input })).createResource;
        if (resource) {
          await refreshAll();
          onDone(resource.path);
        }
        return userErrors;
      }}
    >
      <TextField
        label="Path part"
        placeholder="pets"
        className="font-mono text-xs"
        hint={`Below ${parent.path}. A variable stands in braces: {id}, or {proxy+} for all that follows.`}
        error={errors.pathPart?.message}
        {...form.register("pathPart")}
      />
    </Form>
  );
}
