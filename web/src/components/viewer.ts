import { useQuery } from "@tanstack/react-query";
import { graphql } from "../api/generated";
import { query } from "../api/query";
import { type Action, may } from "../lib/roles";

export const ViewerDocument = graphql(`
  query Viewer {
    viewer { operator role user { id email } tenant { id name createdAt status suspendedReason } }
  }
`);

/** Who looks at the page. The shell asks, and draws no page before it knows. */
export function useViewer() {
  return useQuery({ ...query(ViewerDocument), enabled: false }).data?.viewer;
}

/** Whether who looks at the page may do something. */
export function useMay(): (action: Action) => boolean {
  const viewer = useViewer();
  return (action) => may(viewer?.role, action);
}
