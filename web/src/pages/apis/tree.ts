import { useQuery } from "@tanstack/react-query";
import { request } from "../../api/client";
import { graphql } from "../../api/generated";
import { everyPage } from "../../api/query";
import { type Branch, tree } from "../../lib/tree";
import { type Route, RoutesDocument } from "./routes";

const ResourcesDocument = graphql(`
  query Resources($id: ID!, $after: String) {
    node(id: $id) {
      __typename
      ... on Api {
        resources(first: 100, after: $after) { nodes { id path } pageInfo { hasNextPage endCursor } }
      }
    }
  }
`);

/** A few hundred at most of each, so that the tree is drawn whole. */
async function wholeTree(id: string): Promise<Branch<Route>> {
  const api = async <T extends { __typename: string }>(node: T | null | undefined) =>
    node?.__typename === "Api" ? (node as Extract<T, { __typename: "Api" }>) : undefined;
  const [resources, routes] = await Promise.all([
    everyPage(
      async (after) => (await api((await request(ResourcesDocument, { id, after })).node))?.resources,
    ),
    everyPage(async (after) => (await api((await request(RoutesDocument, { id, after })).node))?.routes),
  ]);
  return tree(resources, routes);
}

/** The paths of an API with their routes: asked once for the tree and for a method beside it. */
export function useTree(api: string) {
  return useQuery({ queryKey: ["tree", api], queryFn: () => wholeTree(api) });
}
