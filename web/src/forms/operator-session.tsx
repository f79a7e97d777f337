import { z } from "zod";
import { openOperatorSession } from "../api/client";
import { TextField } from "../ui/field";
import { email, newPassword, PASSWORD_LENGTH_MIN } from "./fields";
import { Form, useSchemaForm } from "./form";

const schema = z.object({ email, password: newPassword });

export function OperatorSessionForm({ token, onDone }: { token: string; onDone: () => void }) {
  const form = useSchemaForm(schema, { email: "", password: "" });
  const { errors } = form.formState;
  return (
    <Form
      form={form}
      submit="Continue"
      wide
      send={async (values) => {
        const problem = await openOperatorSession({ token, ...values });
        if (!problem) {
          onDone();
          return [];
        }
        const message = problem.detail ?? problem.title ?? "The link was not accepted.";
        return [{ code: "BAD_REQUEST", message, param: problem.param }];
      }}
    >
      <TextField
        label="Email"
        type="email"
        autoComplete="username"
        error={errors.email?.message}
        {...form.register("email")}
      />
      <TextField
        label="Password"
        type="password"
        autoComplete="new-password"
        hint={`At least ${PASSWORD_LENGTH_MIN} characters.`}
        error={errors.password?.message}
        {...form.register("password")}
      />
    </Form>
  );
}
