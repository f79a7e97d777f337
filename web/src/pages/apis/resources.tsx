import { getRouteApi, Link, Outlet, useNavigate, useParams } from "@tanstack/react-router";
import { ChevronRight, FolderPlus, Plus, Trash2 } from "lucide-react";
import { useState } from "react";
import { request } from "../../api/client";
import { settled } from "../../api/errors";
import { graphql } from "../../api/generated";
import { refreshAll } from "../../api/query";
import { DeleteDialog } from "../../components/delete-dialog";
import { Loaded } from "../../components/loaded";
import { useMay } from "../../components/viewer";
import { ResourceCreateForm } from "../../forms/resource-create";
import { RouteForm } from "../../forms/route";
import { paths } from "../../lib/paths";
import { type Branch, deletion } from "../../lib/tree";
import { Button, IconButton } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Empty, Panel } from "../../ui/panel";
import { toast } from "../../ui/toast";
import type { Route } from "./routes";
import { useTree } from "./tree";

const DeleteResourceDocument = graphql(`
  mutation DeleteResource($input: DeleteInput!) {
    deleteResource(input: $input) { deletedId userErrors { code message param } }
  }
`);

const page = getRouteApi("/tenant/apis/$api/resources");

type Open = { below: Branch<Route> } | { at: Branch<Route> } | { remove: Branch<Route> };

/** The paths of an API as a tree with its methods as leaves, the same routes as the list has; beside it the open one. */
export function ResourcesPage() {
  const api = page.useParams().api;
  const { route } = useParams({ strict: false });
  const navigate = useNavigate();
  const answer = useTree(api);
  const [open, setOpen] = useState<Open>();
  const close = () => setOpen(undefined);
  const done = (said: string) => {
    close();
    toast(said);
  };
  return (
    <div className={route ? "grid items-start gap-5 lg:grid-cols-[16.5rem_minmax(0,1fr)]" : ""}>
      <div
        className={
          route ? "max-lg:hidden lg:sticky lg:top-5 lg:max-h-[calc(100dvh-2.5rem)] lg:overflow-y-auto" : ""
        }
      >
        <Panel
          title="Resources"
          note={
            route
              ? undefined
              : "The paths of this API as a tree, and the methods on each. Changes reach callers when you deploy."
          }
          flush
        >
          <Loaded query={answer}>
            {(root) =>
              root.children.length + root.routes.length === 0 ? (
                <NoResources root={root} act={setOpen} />
              ) : (
                <ul className="py-2">
                  <Node api={api} branch={root} depth={0} act={setOpen} />
                </ul>
              )
            }
          </Loaded>
        </Panel>
      </div>
      <Outlet />
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
        <Dialog title={`Add a method to ${open.at.path}`} onClose={close}>
          <RouteForm
            api={api}
            route={undefined}
            at={open.at}
            onCancel={close}
            onDone={() => done("Saved to the draft. Deploy to make it live.")}
          />
        </Dialog>
      )}
      {open && "remove" in open && (
        <RemoveDialog
          branch={open.remove}
          onClose={close}
          onRemoved={async (routes) => {
            // What is open beside the tree may have gone with it.
            if (routes.some(({ id }) => id === route)) await navigate(paths.resources(api));
          }}
        />
      )}
    </div>
  );
}

function NoResources({ root, act }: { root: Branch<Route>; act: (open: Open) => void }) {
  const may = useMay();
  return (
    <Empty
      title="Nothing below / yet"
      action={
        may("manageApis") && (
          <>
            {root.resource && <Button onClick={() => act({ below: root })}>Add resource</Button>}
            <Button onClick={() => act({ at: root })}>Add method to /</Button>
          </>
        )
      }
    >
      A resource is a part of a path, such as pets or {"{id}"}; its methods say which calls of it are
      answered, and by what.
    </Empty>
  );
}

/** How many names a confirmation lists; it says how many more there are. */
const NAMED = 12;

function RemoveDialog({
  branch,
  onClose,
  onRemoved,
}: {
  branch: Branch<Route>;
  onClose: () => void;
  onRemoved: (routes: readonly Route[]) => Promise<void>;
}) {
  const { resources, routes, stays } = deletion(branch);
  return (
    <DeleteDialog
      noun="resource"
      name={branch.path}
      consequence="This leaves the draft. Stages serve it until the next deployment."
      onClose={onClose}
      onDelete={async () => {
        const input = { id: branch.resource ?? "" };
        settled((await request(DeleteResourceDocument, { input })).deleteResource);
        await onRemoved(routes);
        await refreshAll();
      }}
    >
      <Names title="Resources" names={resources} />
      <Names title="Methods" names={routes.map(({ routeKey }) => routeKey)} />
      {stays.length > 0 && (
        <Names
          title="These stay: they were made by their path, not on a resource"
          names={stays.map(({ routeKey }) => routeKey)}
        />
      )}
    </DeleteDialog>
  );
}

function Names({ title, names }: { title: string; names: readonly string[] }) {
  if (names.length === 0) return null;
  return (
    <section aria-label={title}>
      <h3 className="font-medium">{title}</h3>
      <ul className="mt-1 flex flex-col gap-0.5 font-mono text-xs wrap-anywhere">
        {names.slice(0, NAMED).map((name) => (
          <li key={name}>{name}</li>
        ))}
        {names.length > NAMED && <li className="font-sans">{`and ${names.length - NAMED} more`}</li>}
      </ul>
    </section>
  );
}

type NodeProps = { api: string; branch: Branch<Route>; depth: number; act: (open: Open) => void };

/** One part of a path, its methods and what lies below. */
function Node({ api, branch, depth, act }: NodeProps) {
  const may = useMay();
  const [folded, setFolded] = useState(false);
  const { part, path, resource, routes, children } = branch;
  return (
    <li>
      <div className="flex min-h-9 flex-wrap items-center gap-x-1 gap-y-1 py-1 pr-2 pl-1.5 hover:bg-sunken/50">
        <IconButton
          label={`Methods and resources of ${path}`}
          aria-expanded={!folded}
          disabled={routes.length + children.length === 0}
          onClick={() => setFolded(!folded)}
          className="size-6! disabled:invisible"
        >
          <ChevronRight size={14} aria-hidden="true" className={folded ? "" : "rotate-90"} />
        </IconButton>
        <span className="min-w-0 font-mono text-xs" title={path}>
          {depth > 0 && <span className="text-muted">/</span>}
          <span className={part.startsWith("{") ? "text-accent-strong" : "font-semibold"}>{part}</span>
        </span>
        {may("manageApis") && (
          <span className="ml-auto inline-flex gap-0.5">
            <IconButton label={`Add a method to ${path}`} onClick={() => act({ at: branch })}>
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
      {!folded && routes.length + children.length > 0 && (
        <ul className="ml-4.5 border-l border-line">
          {routes.map((route) => (
            <Leaf key={route.id} api={api} route={route} />
          ))}
          {children.map((child) => (
            <Node key={child.path} api={api} branch={child} depth={depth + 1} act={act} />
          ))}
        </ul>
      )}
    </li>
  );
}

/** A method, which leads to what is set of it. */
function Leaf({ api, route }: { api: string; route: Route }) {
  return (
    <li>
      <Link
        {...paths.method(api, route.id)}
        activeOptions={{ includeHash: false }}
        activeProps={{ className: "bg-accent-soft" }}
        className="flex min-h-7 items-center gap-2 py-0.5 pr-3 pl-3.5 hover:bg-sunken"
      >
        <span className="font-mono text-2xs font-semibold text-accent-strong">
          {route.method || "$default"}
        </span>
        <span className="sr-only">{route.method && route.path}</span>
        <span className="min-w-0 truncate text-xs text-muted">{goesTo(route.integration)}</span>
      </Link>
    </li>
  );
}

function goesTo(integration: Route["integration"]): string {
  if (!integration) return "no integration";
  return integration.type === "MOCK" ? "mock" : integration.uri.replace(/^https?:\/\//, "");
}
