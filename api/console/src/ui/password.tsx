import { useState } from "react";
import { FieldError, Input, Label, Text, TextField, ToggleButton } from "react-aria-components";
import { t } from "~/i18n";

const chars_min = 12;
const chars_max = 200;

/** As the gateway counts: characters, not UTF-16 units. */
export function isPassword(text: string): boolean {
  const { length } = [...text];
  return length >= chars_min && length <= chars_max;
}

/** A password to be typed or pasted. A new one says its rule before anybody breaks it. */
export function PasswordInput({ label, value, onChange, isNew, error, help, autoFocus }: {
  label: string; value: string; onChange: (value: string) => void; isNew?: boolean; error?: string | null; help?: string; autoFocus?: boolean;
}) {
  const [isShown, setShown] = useState(false);
  const [wasLeft, setLeft] = useState(false);
  const rule = t("password.rule", { min: chars_min, max: chars_max });
  const broken = isNew && wasLeft && value !== "" && !isPassword(value) ? t("password.broken", { n: [...value].length, min: chars_min, max: chars_max }) : null;
  const wrong = error ?? broken;
  return (
    <TextField className="field" type={isShown ? "text" : "password"} value={value} onChange={onChange} onBlur={() => setLeft(true)} isRequired autoFocus={autoFocus}
      autoComplete={isNew ? "new-password" : "current-password"} isInvalid={!!wrong} validationBehavior="aria" spellCheck="false">
      <Label>{label}</Label>
      <div className="password">
        <Input className="input" dir="ltr" autoCapitalize="none" autoCorrect="off" />
        <ToggleButton className="btn compact quiet" isSelected={isShown} onChange={setShown} aria-label={t("password.show")}>{t(isShown ? "password.hideShort" : "password.showShort")}</ToggleButton>
      </div>
      {(isNew || help) && <Text slot="description" className="help">{isNew ? rule : help}</Text>}
      {wrong && <FieldError className="err">{wrong}</FieldError>}
    </TextField>
  );
}
