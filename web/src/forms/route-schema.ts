import type { UseFormReturn } from "react-hook-form";
import { z } from "zod";
import { parametersOf } from "../lib/subtypes";
import { cors } from "./cors-fields";
import { aws, isArn } from "./route-aws";
import { backendFields } from "./route-backend";
import { connectionFields } from "./route-connection";
import { isList, mockFields, unreadable } from "./route-mock";
import { resilienceFields } from "./route-resilience";
import { responseFields } from "./route-responses";
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
      type: z.enum(["HTTP_PROXY", "HTTP", "AWS_PROXY", "AWS", "MOCK"]),
      uri: z.string().trim(),
      protocolVersion: z.enum(["HTTP1", "HTTP2"]),
      payloadFormatVersion: z.enum(["1.0", "2.0"]),
      aws,
      ...responseFields,
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
    const { type, uri } = integration;
    const refuse = (name: "uri" | "responses", message: string) =>
      context.addIssue({ code: "custom", path: ["integration", name], message });
    if (type === "AWS") {
      if (!isArn(uri)) refuse("uri", "Enter the ARN of a service's action or path, or of a function.");
    } else if (type === "AWS_PROXY" && integration.aws.subtype !== "") {
      const given = integration.aws.parameters;
      for (const { name, required } of parametersOf(integration.aws.subtype)) {
        if (!required || given[name]) continue;
        const path = ["integration", "aws", "parameters", name];
        context.addIssue({ code: "custom", path, message: `${integration.aws.subtype} needs it.` });
      }
    } else if (type !== "MOCK" && !(type === "AWS_PROXY" && isArn(uri)) && !/^https?:\/\/./.test(uri)) {
      const whose = type === "AWS_PROXY" ? "function" : "backend";
      refuse("uri", `Enter the ${whose}'s URL, starting with http:// or https://.`);
    }
    const answersBy = type === "AWS" || type === "HTTP";
    if (answersBy && integration.responses !== "" && !isList(integration.responses))
      refuse("responses", "Enter a JSON list.");
    if (type === "MOCK") {
      for (const name of unreadable(integration)) {
        context.addIssue({ code: "custom", path: ["integration", name], message: "Enter a JSON list." });
      }
    }
  });

export type Values = z.output<typeof schema>;

export type Typed = z.input<typeof schema>;
export type RouteFormState = UseFormReturn<Typed, unknown, Values>;
