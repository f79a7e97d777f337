import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { FolderPlus, Plus, Trash2 } from "lucide-react";
import { useState } from "react";
import { request } from "../../api/client";
import { settled } from "../../api/errors";
import { graphql } from "../../api/generated";
import { everyPage, refreshAll } from "../../api/query";
import { DeleteDialog } from "../../components/delete-dialog";
import { Loaded } from "../../components/loaded";
import { useMay } from "../../components/viewer";
import { ResourceCreateForm } from "../../forms/resource-create";
import { RouteForm } from "../../forms/route";
import { type Branch, tree } from "../../lib/tree";
import { IconButton } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Panel } from "../../ui/panel";
import { toast } from "../../ui/toast";
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

const DeleteResourceDocument = graphql(`
  mutation DeleteResource($input: DeleteInput!) {
    deleteResource(input: $input) { deletedId userErrors { code message param } }
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

const page = getRouteApi("/tenant/apis/$api");

type Place = { path: string; resource: string | undefined };
type Open = { below: Place } | { route: Route | undefined; at: Place } | { remove: Place };

/** The paths of an API as a tree; the same routes as the list has. */
export function ResourcesPage() {
  const api = page.useParams().api;
  const answer = useQuery({ queryKey: ["tree", api], queryFn: () => wholeTree(api) });
  const [open, setOpen] = useState<Open>();
  const close = () => setOpen(undefined);
  const done = (said: string) => {
    close();
    toast(said);
  };
  return (
    <>
      <Panel
        title="Resources"
        note="The paths of this API as a tree, and the methods on each. Changes reach callers when you deploy."
        flush
      >
        <Loaded query={answer}>
          {(root) => (
            <ul className="py-2">
              <Node branch={root} depth={0} act={setOpen} />
            </ul>
          )}
        </Loaded>
      </Panel>
      {open && "below" in open && open.below.resource && (
        <Dialog title={`Add a resource below ${open.below.path}`} onClose={close}>
          <ResourceCreateForm
            api={api}
            parent={{ id: open.below.resource, path: open.below.path }}
            onCancel={close}
            onDone={(path) => done(`${path} is in the draft`)}
          />
        </Dialog>
      )}
      {open && "at" in open && (
        <Dialog
          title={open.route ? `Edit ${open.route.routeKey}` : `Add a method to ${open.at.path}`}
          onClose={close}
        >
          <RouteForm
            api={api}
            route={open.route}
            at={open.at}
            onCancel={close}
            onDone={() => done("Saved to the draft. Deploy to make it live.")}
          />
        </Dialog>
      )}
      {open && "remove" in open && (
        <DeleteDialog
          noun="resource"
          name={open.remove.path}
          consequence="The resource, all below it and their routes leave the draft. Stages serve them until the next deployment."
          onClose={close}
          onDelete={async () => {
            const input = { id: open.remove.resource ?? "" };
            settled((await request(DeleteResourceDocument, { input })).deleteResource);
            await refreshAll();
          }}
        />
      )}
    </>
  );
}

/** One part of a path, its methods and what lies below. */
function Node({ branch, depth, act }: { branch: Branch<Route>; depth: number; act: (open: Open) => void }) {
  const may = useMay();
  const { part, path, resource, routes, children } = branch;
  return (
    <li>
      <div className="flex min-h-9 flex-wrap items-center gap-x-3 gap-y-1 px-4 py-1 hover:bg-sunken/50">
        <span className="font-mono text-xs" title={path}>
          {depth > 0 && <span className="text-muted">/</span>}
          <span className={part.startsWith("{") ? "text-accent-strong" : "font-semibold"}>{part}</span>
        </span>
        <span className="flex flex-wrap gap-1">
          {routes.map((route) => (
            <button
              key={route.id}
              type="button"
              aria-label={`Edit ${route.routeKey}`}
              onClick={() => act({ route, at: branch })}
              className="h-5 rounded-sm bg-accent-soft px-1.5 font-mono text-2xs font-semibold text-accent-strong hover:underline"
            >
              {route.method || "$default"}
            </button>
          ))}
        </span>
        {may("manageApis") && (
          <span className="ml-auto inline-flex gap-0.5">
            <IconButton
              label={`Add a method to ${path}`}
              onClick={() => act({ route: undefined, at: branch })}
            >
              <Plus size={14} aria-hidden="true" />
            </IconButton>
            {resource && (
              <IconButton label={`Add a resource below ${path}`} onClick={() => act({ below: branch })}>
                <FolderPlus size={14} aria-hidden="true" />
              </IconButton>
            )}
            {resource && depth > 0 && (
              <IconButton label={`Delete resource ${path}`} onClick={() => act({ remove: branch })}>
                <Trash2 size={14} aria-hidden="true" />
              </IconButton>
            )}
          </span>
        )}
      </div>
      {children.length > 0 && (
        <ul className="ml-5.5 border-l border-line">
          {children.map((child) => (
            <Node key={child.path} branch={child} depth={depth + 1} act={act} />
          ))}
        </ul>
      )}
    </li>
  );
}
