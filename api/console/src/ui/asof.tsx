//! Time travel: the state of a thing as it was known at an instant. Read only, and it says so.
import { useState } from "react";
import { t } from "~/i18n";
import { browserZone, instant, offset, toInputValue } from "~/lib/format";
import { TextInput } from "./fields";
import { Dialog } from "./overlay";
import { Button, Callout } from "./parts";

interface Props {
  asOf: string | undefined;
  /** What is known of the thing's beginning, to start from. */
  since?: string | null;
  onChange: (asOf: string | undefined) => void;
}

/** The first whole second at which the thing was there. */
const beginning = (since: string | null | undefined): number => (since ? Math.ceil(new Date(since).getTime() / 1000) * 1000 : Date.now());

export function AsOfButton({ asOf, since, onChange }: Props) {
  const [isOpen, setOpen] = useState(false);
  const [value, setValue] = useState("");
  const zone = browserZone();
  return (
    <>
      <Button icon="clock" onPress={() => { setValue(toInputValue(new Date(asOf ?? beginning(since)), true)); setOpen(true); }}>{t("asOf.button")}</Button>
      <Dialog title={t("asOf.title")} isOpen={isOpen} onClose={() => setOpen(false)}>
        <p className="muted">{t("asOf.help")}</p>
        <TextInput label={t("asOf.when")} type="datetime-local" step={1} value={value} onChange={setValue} help={`${zone.replaceAll("_", " ")} (${offset(zone)})`} />
        <div className="row end">
          <Button onPress={() => setOpen(false)}>{t("common.cancel")}</Button>
          <Button look="primary" isDisabled={!value} onPress={() => { setOpen(false); onChange(new Date(value).toISOString()); }}>{t("asOf.show")}</Button>
        </div>
      </Dialog>
    </>
  );
}

export function AsOfBanner({ asOf, onChange }: Omit<Props, "since">) {
  if (!asOf) return null;
  return (
    <Callout tone="warn" title={t("asOf.banner", { when: instant(asOf, undefined, true) })} action={<Button compact onPress={() => onChange(undefined)}>{t("asOf.now")}</Button>}>
      <p>{t("asOf.readOnly")}</p>
    </Callout>
  );
}
