import { useQuery } from "@tanstack/react-query";
import { requestAsNobody } from "../api/client";
import { graphql } from "../api/generated";

const InstallationDocument = graphql(`
  query Installation {
    installation { signup mail }
  }
`);

/** What anybody may know before logging in: who may sign up, and whether letters are sent. */
export function useInstallation() {
  return useQuery({
    queryKey: ["installation"],
    queryFn: async () => (await requestAsNobody(InstallationDocument)).installation,
    staleTime: 60_000,
  });
}
