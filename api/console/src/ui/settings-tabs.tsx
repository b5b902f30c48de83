import { Link } from "@tanstack/react-router";
import { useEffect, useRef } from "react";
import { t } from "~/i18n";
import { useSession } from "~/lib/session";
import { useViewer } from "~/lib/viewer";

export function SettingsTabs() {
  const { can } = useViewer();
  const session = useSession();
  const tabs = useRef<HTMLElement>(null);
  useEffect(() => {
    // Some browsers answer a promise, which is no way to clean up.
    tabs.current?.querySelector('[data-status="active"]')?.scrollIntoView({ block: "nearest", inline: "center" });
  }, []);
  return (
    <nav ref={tabs} className="tabs" aria-label={t("nav.settings")}>
      <Link to="/settings" activeOptions={{ exact: true }}>{t("settings.workspace")}</Link>
      {can("ADMIN") && <Link to="/settings/people">{t("settings.people")}</Link>}
      {session.kind === "person" && <Link to="/settings/sign-in">{t("settings.signIn")}</Link>}
      <Link to="/settings/prices">{t("settings.prices")}</Link>
      <Link to="/settings/browser">{t("settings.browser")}</Link>
      {can("ADMIN") && <Link to="/settings/keys">{t("settings.keys")}</Link>}
      <Link to="/settings/webhooks">{t("settings.webhooks")}</Link>
      <Link to="/settings/events" activeOptions={{ includeSearch: false }}>{t("settings.events")}</Link>
      <Link to="/settings/system">{t("settings.system")}</Link>
      <a href="/graphql">GraphiQL</a>
    </nav>
  );
}
