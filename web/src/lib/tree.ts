/** The paths of an Api as a tree, from its resources and from its routes, which may have none. */
export type Branch<R> = {
  /** `pets` or `{id}`; `/` for the root. */
  part: string;
  path: string;
  /** Where a resource stands here; else only routes lead through. */
  resource: string | undefined;
  routes: R[];
  children: Branch<R>[];
};

export function tree<R extends { path: string }>(
  resources: readonly { id: string; path: string }[],
  routes: readonly R[],
): Branch<R> {
  const root: Branch<R> = { part: "/", path: "/", resource: undefined, routes: [], children: [] };
  for (const { id, path } of resources) at(root, path).resource = id;
  // `$default` is no path: it stands at the root, which it answers too.
  for (const route of routes) at(root, route.path.startsWith("/") ? route.path : "/").routes.push(route);
  sort(root);
  return root;
}

/** The branch itself and all below it, each before what is below it. */
export function subtree<R>(branch: Branch<R>): Branch<R>[] {
  return [branch, ...branch.children.flatMap(subtree)];
}

/** What a resource's deletion takes along, and what stays below it: routes that were made by their path. */
export function deletion<R extends { resource?: object | null }>(branch: Branch<R>) {
  const all = subtree(branch);
  const routes = all.flatMap((one) => one.routes);
  return {
    resources: all.filter(({ resource }) => resource).map(({ path }) => path),
    routes: routes.filter(({ resource }) => resource),
    stays: routes.filter(({ resource }) => !resource),
  };
}

function at<R>(root: Branch<R>, path: string): Branch<R> {
  let branch = root;
  for (const part of path.split("/").filter(Boolean)) {
    let child = branch.children.find((one) => one.part === part);
    if (!child) {
      const above = branch.path === "/" ? "" : branch.path;
      child = { part, path: `${above}/${part}`, resource: undefined, routes: [], children: [] };
      branch.children.push(child);
    }
    branch = child;
  }
  return branch;
}

/** By name; variables, which are tried last, stand last. */
function sort<R>(branch: Branch<R>) {
  const rank = ({ part }: Branch<R>) => (part.startsWith("{") ? 1 : 0);
  branch.children.sort((a, b) => rank(a) - rank(b) || a.part.localeCompare(b.part));
  for (const child of branch.children) sort(child);
}
