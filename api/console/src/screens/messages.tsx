import { getRouteApi, Link } from "@tanstack/react-router";
import { AccountsDocument, ContactsDocument, MessagesDocument, type MessageDirection, type MessageFilter, type MessageStatus } from "~/gen/graphql";
import { t } from "~/i18n";
import { useLoad, usePages } from "~/lib/data";
import { useViewer } from "~/lib/viewer";
import { MessageBadge, messageStatuses } from "~/lib/words";
import { Choose, Search } from "~/ui/fields";
import { ButtonLink, Callout, Empty, Page, Time } from "~/ui/parts";
import { ListCard } from "~/ui/table";

const route = getRouteApi("/messages");
const people_max = 50;

export function MessagesScreen() {
  const search = route.useSearch();
  const { status, direction, account, number: person } = search;
  const navigate = route.useNavigate();
  const { can } = useViewer();
  const accounts = useLoad(AccountsDocument, {});
  // Messages are found by whom they went to: the gateway searches people, and lists the messages of those it found.
  const people = useLoad(ContactsDocument, { filter: { search: person ?? "" }, first: people_max }, { pause: !person });
  const found = person ? (people.data?.contacts.nodes.map(({ id }) => id) ?? null) : undefined;
  const filter: MessageFilter = {
    ...(status ? { status: [status as MessageStatus] } : {}), ...(direction ? { direction: direction as MessageDirection } : {}), ...(account ? { accountIds: [account] } : {}),
    ...(person ? { contactIds: found?.length ? found : ["none"] } : {}),
  };
  const set = (part: Partial<typeof search>) => void navigate({ search: (before) => ({ ...before, ...part }), replace: true });
  const isFiltered = !!(status || direction || account || person);
  const numbers = accounts.data?.accounts.nodes ?? [];
  const nothing = <Empty icon="search" title={t("list.nothingFound")} action={<ButtonLink to="/messages">{t("list.showAll")}</ButtonLink>} />;

  return (
    <Page title={t("nav.messages")}>
      <div className="toolbar" role="search">
        {can("PERSONAL") && <Search label={t("message.search")} value={person ?? ""} onChange={(text) => set({ number: text || undefined })} />}
        <div className="filter">
          <Choose hideLabel label={t("filter.status")} value={status ?? "ALL"} onChange={(value) => set({ status: value === "ALL" ? undefined : value })} options={[{ value: "ALL", label: t("filter.anyStatus") }, ...messageStatuses.map((value) => ({ value: value as string, label: t(`message.status.${value}`) }))]} />
        </div>
        <div className="filter">
          <Choose hideLabel label={t("message.direction")} value={direction ?? "ALL"} onChange={(value) => set({ direction: value === "ALL" ? undefined : value })} options={[{ value: "ALL", label: t("message.both") }, { value: "OUTBOUND", label: t("message.direction.OUTBOUND") }, { value: "INBOUND", label: t("message.direction.INBOUND") }]} />
        </div>
        {numbers.length > 1 && (
          <div className="filter"><Choose hideLabel label={t("nav.number")} value={account ?? "ALL"} onChange={(value) => set({ account: value === "ALL" ? undefined : value })} options={[{ value: "ALL", label: t("filter.anyNumber") }, ...numbers.map(({ id, name }) => ({ value: id, label: name }))]} /></div>
        )}
      </div>
      {person && (people.data?.contacts.pageInfo.hasNextPage ?? false) && <Callout title={t("message.manyPeople", { n: people_max })} />}
      {person && found?.length === 0 ? <section className="card">{nothing}</section> : <List filter={filter} isFiltered={isFiltered} nothing={nothing} />}
    </Page>
  );
}

function List({ filter, isFiltered, nothing }: { filter: MessageFilter; isFiltered: boolean; nothing: React.ReactNode }) {
  const pages = usePages(MessagesDocument, { filter }, (data) => data.messages, { everyMs: 5_000 });
  return (
    <ListCard pages={pages} label={t("nav.messages")} id={({ id }) => id} linked
      empty={isFiltered ? nothing : <Empty icon="message" title={t("message.none")} action={<ButtonLink to="/campaigns/$id/edit/$step" params={{ id: "new", step: "audience" }} look="primary">{t("campaign.new")}</ButtonLink>}>{t("message.noneHelp")}</Empty>}
      columns={[
        { title: t("message.person"), cell: (row) => <span style={{ minInlineSize: 0 }}><Link className="row-link break" to="/messages/$id" params={{ id: row.id }}>{row.contact?.name ?? row.to ?? row.from ?? t("contact.noName")}</Link><span className="sub num" dir="ltr" style={{ textAlign: "start" }}>{row.to ?? row.from}</span></span> },
        { title: t("message.text"), width: "40%", cell: ({ preview, isTest }) => <span className="muted break" dir="auto">{isTest && <span className="chip">{t("message.test")}</span>} {shortened(preview ?? t("message.noText"))}</span> },
        { title: t("filter.status"), cell: ({ status, failure, skipReason }) => <span><MessageBadge status={status} />{(failure ?? skipReason) && <span className="sub break">{failure?.title ?? (skipReason ? t(`skip.${skipReason}`) : "")}</span>}</span> },
        { title: t("message.when"), end: true, cell: ({ createdAt }) => <span className="small muted"><Time at={createdAt} /></span> },
      ]} />
  );
}

const shortened = (text: string): string => (text.length > 120 ? `${text.slice(0, 118).trimEnd()}…` : text);
