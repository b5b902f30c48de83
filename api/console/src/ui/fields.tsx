//! Form fields: React Aria's behaviour, our looks. Every one has a label, and says what is wrong where it is wrong.
import { useEffect, useState, type ReactNode } from "react";
import {
  Button as AriaButton, Checkbox as AriaCheckbox, ComboBox, FieldError, Input, Label, ListBox, ListBoxItem, Popover, Radio, RadioGroup,
  Select as AriaSelect, SelectValue, Switch as AriaSwitch, Text, TextArea, TextField,
} from "react-aria-components";
import { t } from "~/i18n";
import { offset, zoneNames } from "~/lib/format";
import { Icon } from "./icons";

interface Common {
  label: string;
  help?: ReactNode;
  error?: string | null;
  optional?: boolean;
  isDisabled?: boolean;
}

const LabelOf = ({ label, optional }: { label: string; optional?: boolean }) => (
  <Label>{label}{optional && <span className="optional"> · {t("common.optional")}</span>}</Label>
);
const HelpOf = ({ help, error }: { help?: ReactNode; error?: string | null }) => (
  <>
    {help && <Text slot="description" className="help">{help}</Text>}
    {error && <FieldError className="err">{error}</FieldError>}
  </>
);

export function TextInput({ label, help, error, optional, value, onChange, rows, type = "text", placeholder, maxLength, mono, ...rest }: Common & {
  value: string; onChange: (value: string) => void; rows?: number; type?: "text" | "password" | "email" | "tel" | "url" | "number" | "time" | "date" | "datetime-local";
  placeholder?: string; maxLength?: number; mono?: boolean; autoFocus?: boolean; autoComplete?: string; isRequired?: boolean;
  inputMode?: "numeric" | "decimal"; onBlur?: () => void; step?: number;
}) {
  const { step, ...field } = rest;
  const look = mono ? "input mono" : "input";
  return (
    <TextField {...field} className="field" value={value} onChange={onChange} type={rows ? undefined : type} isInvalid={!!error} maxLength={maxLength} validationBehavior="aria">
      <LabelOf label={label} optional={optional} />
      {rows ? <TextArea className={look} rows={rows} placeholder={placeholder} dir="auto" /> : <Input className={look} placeholder={placeholder} step={step} dir={type === "text" ? "auto" : undefined} />}
      <HelpOf help={help} error={error} />
    </TextField>
  );
}

export interface Option<T extends string = string> {
  value: T;
  label: string;
  hint?: string;
  isDisabled?: boolean;
}

export function Choose<T extends string>({ label, help, error, optional, value, onChange, options, placeholder, hideLabel, isDisabled }: Common & {
  value: T | null; onChange: (value: T) => void; options: Option<T>[]; placeholder?: string; hideLabel?: boolean;
}) {
  return (
    <AriaSelect className="field" value={value} onChange={(key) => key !== null && onChange(key as T)} isInvalid={!!error} isDisabled={isDisabled}
      placeholder={placeholder ?? t("common.choose")} aria-label={hideLabel ? label : undefined} validationBehavior="aria">
      {!hideLabel && <LabelOf label={label} optional={optional} />}
      <AriaButton className="input select-button"><SelectValue /><Icon name="chevron" size={16} /></AriaButton>
      <HelpOf help={help} error={error} />
      <Popover className="popover fit">
        <ListBox items={options.map((option) => ({ ...option, id: option.value }))}>
          {({ value: id, label: text, hint, isDisabled: off }) => (
            <ListBoxItem id={id} textValue={text} className="option" isDisabled={off}>
              <Text slot="label">{text}</Text>
              {hint && <small><Text slot="description">{hint}</Text></small>}
            </ListBoxItem>
          )}
        </ListBox>
      </Popover>
    </AriaSelect>
  );
}

/** `allowsOther`: what is typed counts, whether it is among the options or not. An empty field is an empty value. */
export function Combo({ label, help, error, optional, value, onChange, options, allowsOther, placeholder }: Common & {
  value: string; onChange: (value: string) => void; options: Option[]; allowsOther?: boolean; placeholder?: string;
}) {
  const labelOf = (of: string) => options.find((option) => option.value === of)?.label ?? of;
  const [text, setText] = useState(labelOf(value));
  useEffect(() => setText(labelOf(value)), [value]);
  const type = (next: string) => {
    setText(next);
    if (next === "") onChange("");
    else if (allowsOther) onChange(options.find((option) => option.label === next)?.value ?? next);
  };
  const select = (key: string) => {
    setText(labelOf(key));
    onChange(key);
  };
  return (
    <ComboBox className="field" defaultItems={options.map((option) => ({ ...option, id: option.value }))} inputValue={text} onInputChange={type}
      selectedKey={options.some((option) => option.value === value) ? value : null} onSelectionChange={(key) => key !== null && select(String(key))}
      onBlur={() => !allowsOther && setText(labelOf(value))} allowsCustomValue={allowsOther} isInvalid={!!error} menuTrigger="focus" validationBehavior="aria">
      <LabelOf label={label} optional={optional} />
      <div className="combo"><Input className="input" placeholder={placeholder} /><AriaButton aria-label={t("common.showAll")}><Icon name="chevron" size={16} /></AriaButton></div>
      <HelpOf help={help} error={error} />
      <Popover className="popover fit">
        <ListBox>{({ value: id, label: text, hint }: Option) => (
          <ListBoxItem id={id} textValue={text} className="option"><Text slot="label">{text}</Text>{hint && <small>{hint}</small>}</ListBoxItem>
        )}</ListBox>
      </Popover>
    </ComboBox>
  );
}

let zones: Option[] | null = null;

export function ZoneField({ value, onChange, ...common }: Common & { value: string; onChange: (zone: string) => void }) {
  zones ??= zoneNames().map((zone) => ({ value: zone, label: zone.replaceAll("_", " "), hint: offset(zone) }));
  const options = zones.some((zone) => zone.value === value) || !value ? zones : [{ value, label: value, hint: offset(value) }, ...zones];
  return <Combo {...common} value={value} onChange={onChange} options={options} />;
}

export function Check({ children, value, onChange, isDisabled }: { children: ReactNode; value: boolean; onChange: (value: boolean) => void; isDisabled?: boolean }) {
  return (
    <AriaCheckbox className="check" isSelected={value} onChange={onChange} isDisabled={isDisabled}>
      <span className="box" aria-hidden="true"><Icon name="check" size={14} /></span>
      <span>{children}</span>
    </AriaCheckbox>
  );
}

export function Switch({ children, value, onChange, isDisabled }: { children: ReactNode; value: boolean; onChange: (value: boolean) => void; isDisabled?: boolean }) {
  return (
    <AriaSwitch className="switch" isSelected={value} onChange={onChange} isDisabled={isDisabled}>
      <span className="track" aria-hidden="true" /><span>{children}</span>
    </AriaSwitch>
  );
}

export function Radios<T extends string>({ label, help, error, value, onChange, options, cards, isDisabled }: Common & {
  value: T; onChange: (value: T) => void; options: Option<T>[]; cards?: boolean;
}) {
  return (
    <RadioGroup className="field" value={value} onChange={(next) => onChange(next as T)} isInvalid={!!error} isDisabled={isDisabled} validationBehavior="aria">
      <Label>{label}</Label>
      {help && <Text slot="description" className="help">{help}</Text>}
      <div className={cards ? "choices cards" : "choices"}>
        {options.map((option) => (
          <Radio key={option.value} value={option.value} className="check radio" isDisabled={option.isDisabled}>
            <span className="box" aria-hidden="true" />
            <span><span className={option.hint ? "strong" : undefined}>{option.label}</span>{option.hint && <span className="help" style={{ display: "block" }}>{option.hint}</span>}</span>
          </Radio>
        ))}
      </div>
      {error && <FieldError className="err">{error}</FieldError>}
    </RadioGroup>
  );
}

/** Words, one by one: Enter or a comma adds, the cross takes away. */
export function Words({ label, help, values, onChange, optional }: Common & { values: string[]; onChange: (values: string[]) => void }) {
  const [text, setText] = useState("");
  const add = () => {
    const words = text.split(",").map((word) => word.trim()).filter((word) => word && !values.includes(word));
    if (words.length > 0) onChange([...values, ...words]);
    setText("");
  };
  return (
    <TextField className="field" value={text} onChange={setText} onBlur={add}
      onKeyDown={(event) => { if ((event.key === "Enter" || event.key === ",") && text.trim()) { event.preventDefault(); add(); } }}>
      <LabelOf label={label} optional={optional} />
      {values.length > 0 && (
        <ul className="row">
          {values.map((word) => (
            <li key={word} className="chip">{word}
              <button type="button" aria-label={t("common.removeThis", { what: word })} onClick={() => onChange(values.filter((other) => other !== word))}><Icon name="close" size={12} /></button>
            </li>
          ))}
        </ul>
      )}
      <Input className="input" placeholder={t("common.addWord")} />
      <HelpOf help={help} />
    </TextField>
  );
}

export function Search({ label, value, onChange }: { label: string; value: string; onChange: (value: string) => void }) {
  const [text, setText] = useState(value);
  useEffect(() => {
    if (text.trim() === value) return;
    const timer = setTimeout(() => onChange(text.trim()), 250);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <div className="search">
      <Icon name="search" size={16} />
      <input className="input" type="search" aria-label={label} placeholder={label} value={text} onChange={(event) => setText(event.currentTarget.value)} />
    </div>
  );
}
