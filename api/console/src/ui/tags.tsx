//! Tags, completed from those that are in use. Any other word is a tag as well.
import { useEffect, useState } from "react";
import { Button as AriaButton, ComboBox, Input, Label, ListBox, ListBoxItem, Popover, Text } from "react-aria-components";
import { TagsDocument, type TagsQuery } from "~/gen/graphql";
import { t } from "~/i18n";
import { ask } from "~/lib/data";
import { number } from "~/lib/format";
import { Combo } from "./fields";
import { Icon } from "./icons";

const shown_max = 20;
const pause_ms = 200;

function useTags(search: string): TagsQuery["tags"] {
  const [tags, setTags] = useState<TagsQuery["tags"]>([]);
  useEffect(() => {
    let isCurrent = true;
    const timer = setTimeout(async () => {
      // Without an answer there is nothing to complete; what is typed counts all the same.
      const { data } = await ask(TagsDocument, { search: search.trim() || null, first: shown_max });
      if (isCurrent && data) setTags(data.tags);
    }, pause_ms);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [search]);
  return tags;
}

export function TagInput({ label, value, onChange }: { label: string; value: string; onChange: (value: string) => void }) {
  const tags = useTags(value);
  return <Combo label={label} value={value} onChange={onChange} allowsOther options={tags.map(({ tag, count }) => ({ value: tag, label: tag, hint: number(count) }))} />;
}

/** Tags, one by one: Enter, a comma or a choice adds, the cross takes away. */
export function TagWords({ label, help, values, onChange, optional }: { label: string; help?: string; values: string[]; onChange: (values: string[]) => void; optional?: boolean }) {
  const [text, setText] = useState("");
  const tags = useTags(text).filter(({ tag }) => !values.includes(tag));
  const add = (said: string) => {
    const words = said.split(",").map((word) => word.trim()).filter((word) => word && !values.includes(word));
    if (words.length > 0) onChange([...values, ...words]);
    setText("");
  };
  return (
    <ComboBox className="field" items={tags.map(({ tag, count }) => ({ id: tag, count }))} inputValue={text} onInputChange={setText} selectedKey={null} allowsCustomValue menuTrigger="input" defaultFilter={() => true}
      onSelectionChange={(key) => key !== null && add(String(key))} onBlur={() => add(text)}>
      <Label>{label}{optional && <span className="optional"> · {t("common.optional")}</span>}</Label>
      {values.length > 0 && (
        <ul className="row">
          {values.map((word) => (
            <li key={word} className="chip">{word}
              <button type="button" aria-label={t("common.removeThis", { what: word })} onClick={() => onChange(values.filter((other) => other !== word))}><Icon name="close" size={12} /></button>
            </li>
          ))}
        </ul>
      )}
      <div className="combo">
        <Input className="input" placeholder={t("common.addWord")} onKeyDown={(event) => {
          // What is chosen from the list is added by being chosen.
          if (!text.trim() || (event.key !== "," && (event.key !== "Enter" || event.currentTarget.getAttribute("aria-activedescendant")))) return;
          event.preventDefault();
          add(text);
        }} />
        <AriaButton aria-label={t("common.showAll")}><Icon name="chevron" size={16} /></AriaButton>
      </div>
      {help && <Text slot="description" className="help">{help}</Text>}
      <Popover className="popover fit">
        <ListBox>{({ id, count }: { id: string; count: number }) => (
          <ListBoxItem id={id} textValue={id} className="option"><Text slot="label">{id}</Text><small>{number(count)}</small></ListBoxItem>
        )}</ListBox>
      </Popover>
    </ComboBox>
  );
}
