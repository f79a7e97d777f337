import { Link } from "@tanstack/react-router";
import type { Box, Fact, Place } from "../lib/flow";
import { paths } from "../lib/paths";

type Props = {
  boxes: readonly Box[];
  /** `GET /pets` */
  routeKey: string;
  api: string;
  /** A part of the form that the boxes are set by. */
  ask: (section: string) => void;
};

/** The way of a call as a diagram: a list in its order, along which the styles draw the arrows. */
export function Flow({ boxes, routeKey, api, ask }: Props) {
  const leads = (place: Place) =>
    "section" in place
      ? { to: ".", hash: place.section, replace: true, onClick: () => ask(place.section) }
      : "stage" in place
        ? paths.stage(api, place.stage)
        : paths.apiSettings(api);
  return (
    <div className="@container">
      <ol className="flow" aria-label={`The way of a call to ${routeKey}`}>
        {boxes.map(({ title, at, facts }) => (
          <li key={title} className="flow-box">
            <h3 className="mb-1.5 text-xs font-semibold">
              {/* The whole box is what is clicked. */}
              <Link
                {...leads(at)}
                className="rounded-sm text-accent-strong after:absolute after:inset-0 after:rounded-lg hover:underline"
              >
                {title}
              </Link>
            </h3>
            <dl className="flex flex-col gap-1.5 text-xs">
              {facts.map((fact) => (
                <div key={fact.name}>
                  <dt className="text-2xs text-muted">{fact.name}</dt>
                  <dd className="wrap-anywhere">
                    {fact.at ? (
                      <Link
                        {...leads(fact.at)}
                        className="relative z-10 rounded-sm underline decoration-line-strong underline-offset-2 hover:decoration-current"
                      >
                        <Value {...fact} />
                      </Link>
                    ) : (
                      <Value {...fact} />
                    )}
                  </dd>
                </div>
              ))}
            </dl>
          </li>
        ))}
      </ol>
    </div>
  );
}

function Value({ value, code, own, unsafe }: Fact) {
  if (code) return <code className="font-mono text-2xs">{value}</code>;
  return own ? (
    <span className={unsafe ? "font-medium text-bad" : "font-medium"}>{value}</span>
  ) : (
    <span className="text-muted">{value} (default)</span>
  );
}
