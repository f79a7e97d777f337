import { useQuery } from "@tanstack/react-query";
import { type LinkProps, useNavigate } from "@tanstack/react-router";
import { type KeyboardEvent, useId, useState } from "react";
import { graphql } from "../api/generated";
import { query } from "../api/query";
import { paths } from "../lib/paths";
import type { Action } from "../lib/roles";
import { Dialog } from "../ui/dialog";
import { useMay } from "./viewer";

const PaletteDocument = graphql(`
  query Palette {
    apis(first: 50) { nodes { id name } }
    usagePlans(first: 50) { nodes { id name } }
    apiKeys(first: 50) { nodes { id name } }
  }
`);

type Target = { kind: string; label: string; to: LinkProps; needs?: Action };

const PLACES: Target[] = [
  { kind: "Page", label: "Overview", to: paths.overview() },
  { kind: "Page", label: "APIs", to: paths.apis() },
  { kind: "Page", label: "Usage plans", to: paths.usagePlans() },
  { kind: "Page", label: "API keys", to: paths.apiKeys() },
  { kind: "Page", label: "Usage", to: paths.usage() },
  { kind: "Page", label: "Why was a request limited?", to: paths.explanation() },
  { kind: "Page", label: "Billing", to: paths.billing(), needs: "readBilling" },
  { kind: "Page", label: "Settings", to: paths.settings() },
  { kind: "Page", label: "Profile", to: paths.profile() },
  { kind: "Page", label: "Members", to: paths.members() },
  { kind: "Page", label: "Sessions", to: paths.sessions() },
  { kind: "Page", label: "Access keys", to: paths.accessKeys() },
  { kind: "Page", label: "Secrets", to: paths.secrets() },
  { kind: "Page", label: "VPC links", to: paths.vpcLinks() },
  { kind: "Page", label: "Client certificates", to: paths.clientCertificates() },
  { kind: "Page", label: "Audit log", to: paths.audit(), needs: "readAudit" },
  { kind: "Page", label: "Request log", to: paths.managementRequests(), needs: "readAudit" },
  { kind: "Do", label: "Create an API", to: paths.newApi(), needs: "manageApis" },
  { kind: "Do", label: "Create a usage plan", to: paths.newUsagePlan(), needs: "manageUsagePlans" },
  { kind: "Do", label: "Create an API key", to: paths.newApiKey(), needs: "manageApiKeys" },
  { kind: "Do", label: "Log out", to: paths.logOut() },
];

/** What an answer's `x-request-id` looks like. */
const REQUEST_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** How many matches are listed at once. */
const LISTED_MAX = 10;

/** Goes anywhere by typing a part of its name. */
export function Palette({ onClose }: { onClose: () => void }) {
  const found = useQuery(query(PaletteDocument)).data;
  const [typed, setTyped] = useState("");
  const [chosen, setChosen] = useState(0);
  const may = useMay();
  const navigate = useNavigate();
  const listId = useId();

  const targets: Target[] = [
    ...PLACES.filter(({ needs }) => !needs || may(needs)),
    ...(found?.apis.nodes.map(({ id, name }) => ({ kind: "API", label: name, to: paths.api(id) })) ?? []),
    ...(found?.usagePlans.nodes.map(({ id, name }) => ({
      kind: "Plan",
      label: name,
      to: paths.usagePlan(id),
    })) ?? []),
    ...(found?.apiKeys.nodes.map(({ id, name }) => ({ kind: "Key", label: name, to: paths.apiKey(id) })) ??
      []),
  ];
  const request = typed.trim();
  if (REQUEST_ID.test(request) && may("readAudit"))
    targets.push({ kind: "Find", label: request, to: paths.managementRequest(request) });
  const matches = targets
    .filter(({ label }) => label.toLowerCase().includes(typed.trim().toLowerCase()))
    .slice(0, LISTED_MAX);

  const go = (target: Target | undefined) => {
    if (!target) return;
    onClose();
    void navigate(target.to);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      setChosen((at) => (at + step + matches.length) % Math.max(1, matches.length));
    } else if (event.key === "Enter") {
      event.preventDefault();
      go(matches[chosen]);
    }
  };

  return (
    <Dialog title="Go to" onClose={onClose}>
      <input
        role="combobox"
        aria-label="Page, API, plan, key or request id"
        aria-expanded="true"
        aria-controls={listId}
        aria-activedescendant={matches[chosen] ? `${listId}-${chosen}` : undefined}
        autoComplete="off"
        placeholder="Type a name or a request id"
        value={typed}
        onChange={(event) => {
          setTyped(event.target.value);
          setChosen(0);
        }}
        onKeyDown={onKeyDown}
        className="control"
      />
      <div
        id={listId}
        role="listbox"
        aria-label="Matches"
        className="mt-3 flex h-80 flex-col gap-0.5 overflow-y-auto"
      >
        {matches.map((target, at) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: the keys are handled by the combobox, which keeps the focus
          // biome-ignore lint/a11y/useFocusableInteractive: named by aria-activedescendant instead
          <div
            key={`${target.kind} ${target.label} ${JSON.stringify(target.to)}`}
            id={`${listId}-${at}`}
            role="option"
            aria-selected={at === chosen}
            onClick={() => go(target)}
            onPointerMove={() => setChosen(at)}
            className={`flex cursor-pointer items-center gap-3 rounded-md px-3 py-1.5 ${at === chosen ? "bg-accent-soft" : ""}`}
          >
            <span className="w-10 text-xs text-muted">{target.kind}</span>
            <span className="truncate font-medium">{target.label}</span>
          </div>
        ))}
        {matches.length === 0 && <div className="px-3 py-1.5 text-muted">Nothing has that name.</div>}
      </div>
    </Dialog>
  );
}
