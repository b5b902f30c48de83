//! People, found by name, number or id and picked one by one.
import { useState } from "react";
import { ContactNameDocument, ContactsDocument } from "~/gen/graphql";
import { t } from "~/i18n";
import { useLoad } from "~/lib/data";
import { number } from "~/lib/format";
import { Search } from "./fields";
import { Icon } from "./icons";
import { Button, Failure } from "./parts";

const shown_max = 8;
const chips_max = 50;

export interface Found {
  id: string;
  name?: string | null;
  phoneNumber?: string | null;
}

const called = ({ name, phoneNumber }: Found): string => name ?? phoneNumber ?? t("contact.noName");

/** What is found, each with a button that picks it. `isTaken`: not offered. */
export function FindPerson({ label, action, onPick, isTaken }: { label: string; action: string; onPick: (person: Found) => void; isTaken: (id: string) => boolean }) {
  const [search, setSearch] = useState("");
  const { data, problem } = useLoad(ContactsDocument, { filter: { search }, first: shown_max }, { pause: !search });
  const people = data?.contacts.nodes.filter(({ id, erased }) => !erased && !isTaken(id)) ?? [];
  return (
    <div className="stack tight">
      <Search label={label} value={search} onChange={setSearch} />
      <Failure problem={problem} />
      {search && data && people.length === 0 && <p className="muted small" role="status">{t("list.nothingFound")}</p>}
      {search && people.length > 0 && (
        <ul className="list small" aria-label={t("people.found")}>
          {people.map((person) => (
            <li key={person.id} className="row between">
              <span className="break">{called(person)} {person.name && <span className="muted num" dir="ltr">{person.phoneNumber}</span>}</span>
              <Button compact aria-label={t("people.pickThis", { action, who: called(person) })} onPress={() => onPick(person)}>{action}</Button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

/** `max`: as many as a request can carry. */
export function PickPeople({ label, help, ids, onChange, max = 500 }: { label: string; help?: string; ids: string[]; onChange: (ids: string[]) => void; max?: number }) {
  const [names, setNames] = useState<Record<string, string>>({});
  return (
    <fieldset className="stack tight">
      <legend className="label" style={{ fontWeight: 550 }}>{label}</legend>
      {help && <p className="help">{help}</p>}
      {ids.length > 0 && (
        <ul className="row">
          {ids.slice(0, chips_max).map((id) => <li key={id}><Chip id={id} name={names[id]} onRemove={() => onChange(ids.filter((other) => other !== id))} /></li>)}
          {ids.length > chips_max && <li className="small muted">{t("people.more", { n: number(ids.length - chips_max) })}</li>}
        </ul>
      )}
      {ids.length < max ? <FindPerson label={t("contact.search")} action={t("people.add")} isTaken={(id) => ids.includes(id)} onPick={(person) => {
        setNames((before) => ({ ...before, [person.id]: called(person) }));
        onChange([...ids, person.id]);
      }} /> : <p className="help">{t("people.enough", { n: number(max) })}</p>}
    </fieldset>
  );
}

function Chip({ id, name, onRemove }: { id: string; name: string | undefined; onRemove: () => void }) {
  const { data } = useLoad(ContactNameDocument, { id }, { pause: !!name });
  const shown = name ?? (data?.contact ? (data.contact.erased ? t("contact.erased") : called(data.contact)) : "…");
  return <span className="chip"><span className="break">{shown}</span><button type="button" aria-label={t("common.removeThis", { what: shown })} onClick={onRemove}><Icon name="close" size={12} /></button></span>;
}
