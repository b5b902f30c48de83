//! What was found when a number was last looked at: each finding with its age, and what to do where something is wrong.
import type { AccountRowFragment } from "~/gen/graphql";
import { has, t, type Key } from "~/i18n";
import { sentenceCase } from "~/lib/errors";
import { Time } from "./parts";

type Check = AccountRowFragment["health"][number];

const ages = ["last_inbound", "last_outbound", "last_status"];

export const checkName = (check: string): string => (has(`health.${check}`) ? t(`health.${check}` as Key) : check.replaceAll("_", " "));

/** Ratings and states come as the gateway's own terms. */
function inWords(detail: string): string {
  for (const key of [`quality.${detail}`, `account.status.${detail}`]) if (has(key)) return t(key as Key);
  return detail;
}

/** `only`: all findings, those with an age that people look for, or these and whatever is wrong. */
export function Health({ checks, only = "all" }: { checks: Check[]; only?: "all" | "ages" | "important" }) {
  const shown = checks.filter(({ check, ok }) => only === "all" || ages.includes(check) || (only === "important" && !ok));
  return (
    <ul className="health small">
      {shown.map(({ check, ok, at, detail, remedy }) => (
        <li key={check} data-ok={ok}>
          <span className="dot" />
          <span>
            <span className={ok ? undefined : "strong"}>{checkName(check)}</span>
            {!ok && <span className="visually-hidden"> {t("health.wrong")}</span>}
            {detail && (!ok || only === "all") && !(ages.includes(check) && ok) && <span className="muted"> · {inWords(detail)}</span>}
            {!ok && remedy && <span className="err" style={{ display: "block" }}>{sentenceCase(remedy)}</span>}
          </span>
          <span className="muted">{at ? <Time at={at} relative /> : ages.includes(check) ? t("health.never") : null}</span>
        </li>
      ))}
    </ul>
  );
}
