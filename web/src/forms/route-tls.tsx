import { Link } from "@tanstack/react-router";
import { z } from "zod";
import type { TlsConfigInput } from "../api/generated/graphql";
import { ClientCertificateChoices } from "../components/client-certificate-choices";
import { paths } from "../lib/paths";
import { SelectField, SwitchField, TextArea, TextField } from "../ui/field";
import type { RouteFormState } from "./route-schema";
import { Section } from "./section";

/** How a backend is known over TLS, as typed. */
export const tls = z.object({
  insecureSkipVerification: z.boolean(),
  serverNameToVerify: z.string().trim(),
  caBundle: z.string().trim(),
  clientCertificateId: z.string(),
});

type TlsConfig = z.output<typeof tls>;

type Stored = Omit<TlsConfig, "clientCertificateId"> & { clientCertificateId?: string | null };

export const tlsTyped = (stored: Stored | null | undefined): TlsConfig => ({
  insecureSkipVerification: stored?.insecureSkipVerification ?? false,
  serverNameToVerify: stored?.serverNameToVerify ?? "",
  caBundle: stored?.caBundle ?? "",
  clientCertificateId: stored?.clientCertificateId ?? "",
});

/** Nothing where all is as usual. */
export function tlsConfig(typed: TlsConfig): { tlsConfig?: TlsConfigInput } {
  const says = Object.values(typed).some(Boolean);
  return says ? { tlsConfig: typed } : {};
}

/** What the certificate of a backend over https must be, and what it is shown, with a warning where its issuer is not checked. */
export function TlsSection({ form }: { form: RouteFormState }) {
  const errors = form.formState.errors.integration?.tlsConfig;
  return (
    <Section form={form} name="tls" title="TLS to the backend" fields={["integration.tlsConfig"]}>
      <TextField
        label="Name to verify"
        optional
        placeholder="The host in the URL"
        hint="Which name the certificate must have. It is asked for by SNI."
        className="font-mono text-xs"
        error={errors?.serverNameToVerify?.message}
        {...form.register("integration.tlsConfig.serverNameToVerify")}
      />
      <TextArea
        label="Authorities"
        optional
        rows={4}
        className="font-mono text-xs"
        placeholder="-----BEGIN CERTIFICATE-----"
        hint="Who alone may have issued it, or itself, in PEM: at most 10 certificates and 16 KiB. Empty: public authorities."
        error={errors?.caBundle?.message}
        {...form.register("integration.tlsConfig.caBundle")}
      />
      <SelectField
        label="Client certificate"
        hint={
          <>
            Which of the <Link {...paths.clientCertificates()}>client certificates</Link> the backend is shown
            where it asks for one.
          </>
        }
        error={errors?.clientCertificateId?.message}
        {...form.register("integration.tlsConfig.clientCertificateId")}
      >
        <option value="">The stage's, if it has one</option>
        <ClientCertificateChoices by="clientCertificateId" />
      </SelectField>
      <SwitchField
        label="Skip verification of the issuer (insecure)"
        hint="Takes a certificate whoever issued it, itself too. Its name and its dates are checked all the same."
        error={errors?.insecureSkipVerification?.message}
        {...form.register("integration.tlsConfig.insecureSkipVerification")}
      />
      {form.watch("integration.tlsConfig.insecureSkipVerification") && (
        <p role="status" className="rounded-md bg-warn-soft px-3 py-2 text-warn">
          Anyone on the way to the backend can make such a certificate, then read and change calls and
          answers. Give its authority above instead, or the certificate itself.
        </p>
      )}
      {errors?.message && (
        <p role="alert" className="text-bad">
          {errors.message}
        </p>
      )}
    </Section>
  );
}
