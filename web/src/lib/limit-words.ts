import type { LimitCheck, LimitCounting, LimitLevel, NodeAnswer } from "../api/generated/graphql";
import { count } from "./format";

const LEVELS: Record<LimitLevel, string> = {
  TENANT: "All calls of the organisation together",
  STAGE: "All calls of the stage together",
  ROUTE: "All calls of the route together",
  CLIENT: "Each client by itself",
  KEY: "The key on its usage plan",
  KEY_ROUTE: "The key on its usage plan, for this route",
  BACKEND: "The organisation's calls to one backend, on one thread of a node",
};

const CHECKS: Record<LimitCheck, string> = {
  LEASE: "Redis was asked, and had none to give",
  REMEMBERED: "Redis had none shortly before, and is not asked again until some is due",
  EXACT: "Redis was asked for this call",
  LOCAL: "The node counts it by itself",
  FALLBACK: "By the node's own share, since Redis was away",
  SPARED: "By the node's own share: Redis was asked as often as it may be about clients",
  UNAVAILABLE: "It could not be checked: Redis was away, and the limit is closed then",
  SETTING: "Its burst is 0: it lets nothing through",
};

const COUNTINGS: Record<LimitCounting, string> = {
  LEASED: "with Redis, in advance",
  EXACT: "by Redis, call by call",
  LOCAL: "by its own share",
  FALLBACK: "by its own share, as Redis is away",
  FAIL_OPEN: "not counted, as Redis is away: every call passes",
  FAIL_CLOSED: "not counted, as Redis is away: no call passes",
};

/** What a limit counts together. */
export const levelWords = (level: LimitLevel) => LEVELS[level];

/** How a node knew that nothing was left. */
export const checkWords = (check: LimitCheck) => CHECKS[check];

/** How a node counts a limit at this moment. */
export const countingWords = (counting: LimitCounting) => COUNTINGS[counting];

const nodeCount = (nodes: number) => `${count(nodes)} ${nodes === 1 ? "node" : "nodes"}`;

/** Of how many nodes what is shown is. */
export function answersWords(answers: readonly NodeAnswer[]): string {
  if (answers.length === 0) return "No node is there to be asked.";
  const of = (answer: NodeAnswer) => answers.filter((it) => it === answer).length;
  const [silent, unused] = [of("NO_ANSWER"), of("NOTHING_KNOWN")];
  const parts = [`${count(answers.length - silent)} of ${nodeCount(answers.length)} answered`];
  if (unused > 0) parts.push(`${count(unused)} of them had no call of this key in the last minutes`);
  if (silent > 0)
    parts.push("what the others let through is not shown: they are silent, or of an older release");
  return `${parts.join("; ")}.`;
}

type Figures = {
  rateLimit?: number | null;
  burstLimit?: number | null;
  maxInFlight?: number | null;
  quotaLimit?: number | null;
  quotaPeriodSeconds?: number | null;
};

/** `10 a second, 20 at once`; `5 in progress`; `1,000 in a period of 30 days`. */
export function figures(of: Figures): string {
  if (typeof of.rateLimit === "number")
    return `${decimals.format(of.rateLimit)} a second, ${count(of.burstLimit ?? 0)} at once`;
  if (typeof of.maxInFlight === "number") return `${count(of.maxInFlight)} in progress`;
  if (typeof of.quotaLimit !== "number") return "";
  const calls = `${count(of.quotaLimit)} ${of.quotaLimit === 1 ? "call" : "calls"}`;
  if (!of.quotaPeriodSeconds) return calls;
  const days = Math.round(of.quotaPeriodSeconds / 86_400);
  return `${calls} in a period of ${days} ${days === 1 ? "day" : "days"}`;
}

const decimals = new Intl.NumberFormat("en-GB", { maximumSignificantDigits: 6 });
