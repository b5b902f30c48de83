//! What the panes of the Inbox share.
import { createContext, useContext, useEffect, useMemo, useState } from "react";
import { UsersDocument, type ContactRowFragment } from "~/gen/graphql";
import { t } from "~/i18n";
import { useLoad } from "~/lib/data";
import { duration, instant } from "~/lib/format";
import { useViewer } from "~/lib/viewer";
import { Icon } from "~/ui/icons";

/** Now, to the half minute: for what is said of it in minutes. */
export function useNow(everyMs = 20_000): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

export const personName = (contact: Pick<ContactRowFragment, "name" | "phoneNumber" | "userId" | "erased">): string =>
  contact.erased ? t("contact.erased") : (contact.name ?? contact.phoneNumber ?? contact.userId ?? t("contact.noName"));

const People = createContext<ReadonlyMap<string, string>>(new Map());
export const PeopleProvider = People.Provider;
export const useColleagues = (): ReadonlyMap<string, string> => useContext(People);

/** Who else there is to answer, by id; only owners may see everybody. */
export function useUsers(): ReadonlyMap<string, string> {
  const { can } = useViewer();
  const { data } = useLoad(UsersDocument, { first: 200 }, { pause: !can("ADMIN") });
  return useMemo(() => new Map(data?.users.nodes.filter(({ joinedAt, suspendedAt }) => joinedAt && !suspendedAt).map(({ id, name, email }) => [id, name || email])), [data]);
}

export const leftMs = (until: string | null | undefined, now: number): number => (until ? new Date(until).getTime() - now : 0);
const soon_ms = 2 * 3_600_000;

/** Hours while there are hours, then minutes. */
export function left(ms: number): string {
  const minutes = Math.max(1, Math.floor(ms / 60_000));
  // A whole day would be said in days, of which there is never more than the one.
  return duration(minutes < 120 ? minutes * 60 : Math.min(23, Math.floor(minutes / 60)) * 3_600);
}

export function WindowChip({ until, now }: { until: string | null | undefined; now: number }) {
  const ms = leftMs(until, now);
  if (!until || ms <= 0) return null;
  return (
    <span className="window" data-soon={ms < soon_ms} title={t("inbox.windowUntil", { when: instant(until) })}>
      <Icon name="clock" size={12} />{t("inbox.left", { time: left(ms) })}
    </span>
  );
}
