import type { UseFormReturn } from "react-hook-form";
import { z } from "zod";
import { cors } from "./cors-fields";
import { aws, isArn } from "./route-aws";
import { backendFields } from "./route-backend";
import { connectionFields } from "./route-connection";
import { mockFields, unreadable } from "./route-mock";
import { resilienceFields } from "./route-resilience";
import { tls } from "./route-tls";

/** A route with what answers it, as typed. */
export const schema = z
  .object({
    method: z.string(),
    path: z.string().trim(),
    apiKeyRequired: z.boolean(),
    operationName: z.string().trim().max(64, "An operation's name has at most 64 characters."),
    corsOf: z.enum(["API", "OWN", "OFF"]),
    corsConfiguration: cors,
    integration: z.object({
      type: z.enum(["HTTP_PROXY", "AWS_PROXY", "MOCK"]),
      uri: z.string().trim(),
      protocolVersion: z.enum(["HTTP1", "HTTP2"]),
      payloadFormatVersion: z.enum(["1.0", "2.0"]),
      aws,
      tlsConfig: tls,
      ...backendFields,
      ...connectionFields,
      ...resilienceFields,
      ...mockFields,
    }),
  })
  .superRefine(({ path, integration }, context) => {
    if (!/^(\/|\$default$)/.test(path)) {
      context.addIssue({
        code: "custom",
        path: ["path"],
        message: "A path starts with /, such as /pets/{id}.",
      });
    }
    const isFunction = integration.type === "AWS_PROXY" && isArn(integration.uri);
    if (integration.type !== "MOCK" && !isFunction && !/^https?:\/\/./.test(integration.uri)) {
      const whose = integration.type === "AWS_PROXY" ? "function" : "backend";
      const message = `Enter the ${whose}'s URL, starting with http:// or https://.`;
      context.addIssue({ code: "custom", path: ["integration", "uri"], message });
    }
    if (integration.type === "MOCK") {
      for (const name of unreadable(integration)) {
        context.addIssue({ code: "custom", path: ["integration", name], message: "Enter a JSON list." });
      }
    }
  });

export type Values = z.output<typeof schema>;

export type Typed = z.input<typeof schema>;
export type RouteFormState = UseFormReturn<Typed, unknown, Values>;
