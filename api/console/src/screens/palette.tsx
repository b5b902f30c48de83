//! Go anywhere by typing: screens, what can be begun, and campaigns by name.
import { useNavigate } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { Autocomplete, Dialog, Input, Label, Menu, MenuItem, Modal, ModalOverlay, SearchField } from "react-aria-components";
import { CampaignsDocument } from "~/gen/graphql";
import { t } from "~/i18n";
import { ask } from "~/lib/data";
import { useViewer } from "~/lib/viewer";
import { places } from "~/shell";
import { Icon, type IconName } from "~/ui/icons";

interface Entry { id: string; label: string; hint: string; icon: IconName }

export default function Palette({ onClose }: { onClose: () => void }) {
  const navigate = useNavigate();
  const { can } = useViewer();
  const [text, setText] = useState("");
  const [found, setFound] = useState<Entry[]>([]);

  useEffect(() => {
    if (text.trim().length < 2) return setFound([]);
    const timer = setTimeout(async () => {
      const { data } = await ask(CampaignsDocument, { filter: { search: text.trim() }, first: 6 });
      setFound((data?.campaigns.nodes ?? []).map(({ id, name }) => ({ id: `/campaigns/${id}`, label: name, hint: t("nav.campaign"), icon: "campaign" })));
    }, 200);
    return () => clearTimeout(timer);
  }, [text]);

  const begin: Entry[] = can("MANAGE") ? [
    { id: "/campaigns/new/edit/audience", label: t("campaign.new"), hint: t("palette.begin"), icon: "plus" },
    { id: "/templates/new", label: t("template.new"), hint: t("palette.begin"), icon: "plus" },
    { id: "/contacts/import", label: t("contact.import"), hint: t("palette.begin"), icon: "upload" },
    { id: "/segments/new", label: t("segment.new"), hint: t("palette.begin"), icon: "plus" },
    { id: "/numbers/connect", label: t("account.connect"), hint: t("palette.begin"), icon: "plus" },
  ] : [];
  const go = places().map(({ to, label, icon }) => ({ id: to, label, icon, hint: t("palette.go") }));
  const more: Entry[] = [
    { id: "/settings/webhooks", label: t("settings.webhooks"), hint: t("palette.go"), icon: "code" },
    { id: "/settings/keys", label: t("settings.keys"), hint: t("palette.go"), icon: "code" },
    { id: "/settings/events", label: t("settings.events"), hint: t("palette.go"), icon: "event" },
    { id: "/settings/browser", label: t("settings.browser"), hint: t("palette.go"), icon: "settings" },
  ];
  const wanted = text.trim().toLowerCase();
  const entries = [...found, ...[...go, ...begin, ...more].filter(({ label }) => label.toLowerCase().includes(wanted))];
  if (/^\+?[\d\s()-]{6,}$/.test(text.trim()))
    entries.unshift({ id: `/contacts?q=${encodeURIComponent(text.trim())}`, label: t("palette.findPerson", { text: text.trim() }), hint: t("nav.contacts"), icon: "people" });

  return (
    <ModalOverlay className="scrim" isOpen onOpenChange={(open) => !open && onClose()} isDismissable>
      <Modal className="dialog palette">
        <Dialog aria-label={t("palette.open")}>
          <Autocomplete inputValue={text} onInputChange={setText}>
            <SearchField autoFocus className="field"><Label className="visually-hidden">{t("palette.open")}</Label><Input className="input" placeholder={t("palette.placeholder")} /></SearchField>
            <Menu items={entries} aria-label={t("palette.results")} renderEmptyState={() => <p className="muted" style={{ padding: "0.5rem" }}>{t("palette.nothing")}</p>}
              onAction={(key) => { onClose(); void navigate({ href: `${import.meta.env.BASE_URL.replace(/\/$/, "")}${key}` }); }}>
              {(entry: Entry) => (
                <MenuItem id={entry.id} textValue={entry.label} className="option">
                  <span className="row nowrap"><Icon name={entry.icon} size={16} /><span className="grow ellipsis">{entry.label}</span><small>{entry.hint}</small></span>
                </MenuItem>
              )}
            </Menu>
          </Autocomplete>
        </Dialog>
      </Modal>
    </ModalOverlay>
  );
}
