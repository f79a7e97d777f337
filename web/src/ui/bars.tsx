import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

/** One colour of the bars; `token` is the CSS variable that holds it in either theme. */
export type Layer = { label: string; token: string; values: readonly number[] };

const HEIGHT = 220;

/**
 * Stacked bars over time, in UTC. It is a picture: whoever shows it also offers the numbers as a table.
 * The default export, since it is loaded only where it is shown.
 */
export default function Bars({
  label,
  starts,
  layers,
  line,
  onPoint,
}: {
  /** What the picture says, for who cannot see it. */
  label: string;
  /** When each bar begins, in seconds since 1970. */
  starts: readonly number[];
  /** From the bottom up, one value for each start. */
  layers: readonly Layer[];
  /** Drawn over the bars: what they are compared with. */
  line?: Layer | undefined;
  /** The bar under the pointer, or none. */
  onPoint: (at: number | undefined) => void;
}) {
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const plot = new uPlot(
      options(starts, layers, line, element.clientWidth, onPoint),
      stacked(starts, layers, line),
      element,
    );
    const resized = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT }));
    resized.observe(element);
    const theme = matchMedia("(prefers-color-scheme: dark)");
    // From the beginning: the paths of bars hold their colours.
    const redraw = () => plot.redraw();
    theme.addEventListener("change", redraw);
    return () => {
      theme.removeEventListener("change", redraw);
      resized.disconnect();
      plot.destroy();
    };
  }, [starts, layers, line, onPoint]);
  return <div ref={host} role="img" aria-label={label} className="h-55 min-w-0" />;
}

/** Each layer with those below it added; the highest first, so that the lower ones are drawn over it. */
function stacked(
  starts: readonly number[],
  layers: readonly Layer[],
  line: Layer | undefined,
): uPlot.AlignedData {
  const sums: number[][] = [];
  for (const { values } of layers) {
    const below = sums.at(-1);
    sums.push(values.map((value, at) => value + (below?.[at] ?? 0)));
  }
  return [[...starts], ...sums.reverse(), ...(line ? [[...line.values]] : [])];
}

const HOUR = 3600;
const DAY = 24 * HOUR;
/** What may lie between two times of the axis, in seconds; of months and years, the library's own. */
const TICKS = [
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * 60),
  ...[1, 2, 3, 4, 6, 8, 12].map((hours) => hours * HOUR),
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 30, 60, 90, 120, 180, 365].map((days) => days * DAY),
];

function options(
  starts: readonly number[],
  layers: readonly Layer[],
  line: Layer | undefined,
  width: number,
  onPoint: (at: number | undefined) => void,
): uPlot.Options {
  const colour = (token: string) => () =>
    getComputedStyle(document.documentElement).getPropertyValue(token).trim();
  const font = `11px ${getComputedStyle(document.body).fontFamily}`;
  const bars = uPlot.paths.bars?.({ size: [0.8, 40] });
  const axis = { font, stroke: colour("--muted"), ticks: { show: false } };
  const [first = 0, second = first + HOUR] = starts;
  const step = second - first;
  // A bar stands around its start: the first and the last are drawn whole.
  const [begin, end] = [first - step / 2, (starts.at(-1) ?? first) + step / 2];
  return {
    width,
    height: HEIGHT,
    // To the right, half of a time may stick out.
    padding: [12, 20, 0, 0],
    legend: { show: false },
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    scales: {
      x: { range: () => [begin, end] },
      y: { range: (_, __, highest) => [0, Math.max(1, highest * 1.05)] },
    },
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    axes: [
      {
        ...axis,
        size: 30,
        grid: { show: false },
        incrs: TICKS.filter((seconds) => seconds >= step),
        values: (_, splits) => splits.map(clock),
      },
      {
        ...axis,
        size: 56,
        grid: { stroke: colour("--line"), width: 1 },
        incrs: [
          1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 1e7, 1e8,
        ],
        values: (_, splits) => splits.map((value) => short.format(value)),
      },
    ],
    series: [
      {},
      ...[...layers].reverse().map(({ label, token }) => ({
        label,
        ...(bars ? { paths: bars } : {}),
        fill: colour(token),
        width: 0,
        points: { show: false },
      })),
      ...(line
        ? [{ label: line.label, stroke: colour(line.token), width: 2, dash: [6, 4], points: { show: false } }]
        : []),
    ],
    hooks: { setCursor: [(plot) => onPoint(plot.cursor.idx ?? undefined)] },
  };
}

const short = new Intl.NumberFormat("en-GB", { notation: "compact" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });

/** The time of day, or the day where one begins. */
function clock(seconds: number): string {
  const instant = new Date(seconds * 1000);
  const time = instant.toISOString().slice(11, 16);
  return time === "00:00" ? day.format(instant) : time;
}
