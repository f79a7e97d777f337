import "./styles.css";
import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { createRoot } from "react-dom/client";
import { session } from "./api/client";
import { isSignedOut, queryClient } from "./api/query";
import { beginTracesAt } from "./api/trace";
import { paths } from "./lib/paths";
import { shownOnce } from "./lib/shown-once";
import { router } from "./router";
import { Toaster } from "./ui/toast";

/** Back to log-in, and from there to where the person was. */
function askToLogIn() {
  shownOnce.clear();
  const { pathname, href } = router.state.location;
  const outside: string[] = [
    paths.logIn().to,
    paths.logOut().to,
    paths.signUp().to,
    paths.invitation().to,
    paths.resetPassword().to,
    paths.verifyEmail().to,
    paths.operator().to,
  ];
  if (outside.includes(pathname)) {
    // What such a page asks itself is about nobody, and it waits for the answer.
    queryClient.removeQueries({ type: "inactive" });
  } else {
    queryClient.clear();
    void router.navigate({ ...paths.logIn(href), replace: true });
  }
}

beginTracesAt(window);
session.onEnd(askToLogIn);
queryClient.getQueryCache().subscribe((event) => {
  if (event.type === "updated" && event.action.type === "error" && isSignedOut(event.action.error))
    askToLogIn();
});

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no #root");
createRoot(root).render(
  <QueryClientProvider client={queryClient}>
    <RouterProvider router={router} />
    <Toaster />
  </QueryClientProvider>,
);
