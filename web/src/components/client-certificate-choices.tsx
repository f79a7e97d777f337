import { useQuery } from "@tanstack/react-query";
import { graphql } from "../api/generated";
import { query } from "../api/query";
import { day } from "../lib/format";

const ClientCertificateChoicesDocument = graphql(`
  query ClientCertificateChoices {
    clientCertificates(first: 100) {
      nodes { id clientCertificateId description expirationDate expiresSoon }
    }
  }
`);

/** The options of a select: `by` says which of its ids a certificate is chosen by. */
export function ClientCertificateChoices({ by }: { by: "id" | "clientCertificateId" }) {
  const certificates = useQuery(query(ClientCertificateChoicesDocument));
  return certificates.data?.clientCertificates.nodes.map((certificate) => (
    <option key={certificate.id} value={certificate[by]}>
      {certificate.description || certificate.clientCertificateId}
      {certificate.expiresSoon && ` (expires ${day(certificate.expirationDate)})`}
    </option>
  ));
}
