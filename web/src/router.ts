import { createRouter } from "@tanstack/react-router";
import { Broken } from "./components/load-error";
import { NotFound } from "./pages/not-found";
import { routeTree } from "./routes";
import { Loading } from "./ui/panel";

export const router = createRouter({
  routeTree,
  defaultPreload: "intent",
  defaultPreloadStaleTime: 0,
  defaultPendingComponent: Loading,
  defaultPendingMs: 300,
  defaultErrorComponent: Broken,
  defaultNotFoundComponent: NotFound,
  scrollRestoration: true,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
