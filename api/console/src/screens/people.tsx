import { useState, type FormEvent } from "react";
import {
  AccountsDocument, InviteUserDocument, ReinstateUserDocument, RemoveUserDocument, ResetUserDocument, RevokeUserSessionsDocument, SuspendUserDocument,
  UpdateUserDocument, UsersDocument, type Role, type UserRowFragment,
} from "~/gen/graphql";
import { t } from "~/i18n";
import { once, useCommand, useLoad, usePages } from "~/lib/data";
import { isAbout } from "~/lib/errors";
import { useViewer } from "~/lib/viewer";
import { refreshViewer } from "~/shell";
import { Check, Radios, TextInput } from "~/ui/fields";
import { Dialog, More, useConfirm } from "~/ui/overlay";
import { Badge, Button, Callout, Copy, Empty, Failure, Page, Time } from "~/ui/parts";
import { SettingsTabs } from "~/ui/settings-tabs";
import { ListCard } from "~/ui/table";

type User = UserRowFragment;
type Account = { id: string; name: string };

const roles: Role[] = ["VIEWER", "SENDER", "MANAGER", "OWNER"];
const roleOptions = () => roles.map((value) => ({ value, label: t(`role.${value}`), hint: t(`roleHint.${value}`) }));

export function PeopleScreen() {
  const { can } = useViewer();
  if (can("ADMIN")) return <People />;
  return (
    <Page title={t("nav.settings")}>
      <SettingsTabs />
      <Callout tone="warn" title={t("people.notYours")}><p>{t("people.notYoursHelp")}</p></Callout>
    </Page>
  );
}

function People() {
  const { viewer } = useViewer();
  const pages = usePages(UsersDocument, {}, (data) => data.users, { everyMs: 3_000 });
  const accounts = useLoad(AccountsDocument, {}).data?.accounts.nodes ?? [];
  const suspend = useCommand(SuspendUserDocument, t("people.suspendedNow"));
  const reinstate = useCommand(ReinstateUserDocument, t("people.reinstatedNow"));
  const revoke = useCommand(RevokeUserSessionsDocument, t("people.sessionsEnded"));
  const remove = useCommand(RemoveUserDocument, t("people.removedNow"));
  const reset = useCommand(ResetUserDocument, null);
  const [isInviting, setInviting] = useState(false);
  const [editing, setEditing] = useState<User | null>(null);
  const [given, setGiven] = useState<{ user: User; link: string } | null>(null);
  const commands = [suspend, reinstate, revoke, remove, reset];
  const [dialog, confirm] = useConfirm(commands.find(({ problem }) => problem)?.problem ?? null, commands.some(({ isSaving }) => isSaving));
  const ask = (confirmation: Parameters<typeof confirm>[0]) => {
    for (const command of commands) command.clear();
    confirm(confirmation);
  };

  const newLink = async ({ id }: User) => {
    const done = await reset.run({ id });
    if (done) setGiven(done.resetUser);
    return done;
  };
  const actions = (user: User) => {
    const { id, name } = user;
    const isSelf = id === viewer.id;
    const edit = { label: t("common.edit"), run: () => setEditing(user) };
    // Nobody shuts themselves out by a slip; their own password and sessions have a page of their own.
    if (isSelf) return [edit];
    return [
      edit,
      ...(user.suspendedAt ? [] : [{ label: t(user.joinedAt ? "people.reset" : "people.inviteAgain"), run: () => ask({ title: t(user.joinedAt ? "people.reset" : "people.inviteAgain"), body: <p>{t(user.joinedAt ? "people.resetBody" : "people.inviteAgainBody", { name })}</p>, action: t("people.makeLink"), run: () => newLink(user) }) }]),
      ...(user.joinedAt ? [{ label: t("people.endSessions"), run: () => ask({ title: t("people.endSessions"), body: <p>{t("people.endSessionsBody", { name })}</p>, action: t("people.endSessions"), run: () => revoke.run({ id }) }) }] : []),
      user.suspendedAt
        ? { label: t("people.reinstate"), run: () => ask({ title: t("people.reinstate"), body: <p>{t("people.reinstateBody", { name })}</p>, action: t("people.reinstate"), run: () => reinstate.run({ id }) }) }
        : { label: t("people.suspend"), danger: true, run: () => ask({ title: t("people.suspend"), danger: true, body: <p>{t("people.suspendBody", { name })}</p>, action: t("people.suspend"), run: () => suspend.run({ id }) }) },
      { label: t("people.remove"), danger: true, run: () => ask({ title: t("people.remove"), danger: true, typed: user.email, body: <p>{t("people.removeBody", { name })}</p>, action: t("people.remove"), run: () => remove.run({ id }) }) },
    ];
  };

  return (
    <Page title={t("nav.settings")} actions={<Button look="primary" icon="plus" onPress={() => setInviting(true)}>{t("people.invite")}</Button>}>
      <SettingsTabs />
      <ListCard pages={pages} label={t("settings.people")} id={({ id }) => id} empty={<Empty icon="people" title={t("people.none")}>{t("people.noneHelp")}</Empty>} columns={[
        { title: t("people.name"), cell: ({ id, name, email }) => <span className="strong break">{name}{id === viewer.id && <> <span className="chip">{t("people.you")}</span></>}<span className="sub">{email}</span></span> },
        { title: t("people.role"), cell: ({ role }) => t(`role.${role}`) },
        { title: t("people.reach"), cell: (user) => <span className="break">{reachOf(user, accounts)}</span> },
        { title: t("people.secondFactor"), cell: ({ hasSecondFactor }) => hasSecondFactor ? <Badge tone="good">{t("people.on")}</Badge> : <span className="muted">{t("people.off")}</span> },
        { title: t("people.lastSignIn"), cell: ({ signedInAt }) => <span className="small muted">{signedInAt ? <Time at={signedInAt} /> : t("people.never")}</span> },
        { title: t("filter.status"), cell: ({ suspendedAt, joinedAt }) => suspendedAt ? <Badge tone="warn">{t("people.suspended")}</Badge> : joinedAt ? <Badge tone="good">{t("people.active")}</Badge> : <Badge tone="info">{t("people.invited")}</Badge> },
        { title: "", end: true, cell: (user) => <More label={t("people.moreOf", { name: user.name })} items={actions(user)} /> },
      ]} />
      {dialog}
      {isInviting && <Invite accounts={accounts} onClose={() => setInviting(false)} onDone={(made) => { setInviting(false); setGiven(made); }} />}
      {editing && <Edit user={editing} accounts={accounts} onClose={() => setEditing(null)} />}
      {given && <LinkOnce user={given.user} link={given.link} onClose={() => setGiven(null)} />}
    </Page>
  );
}

function reachOf({ accountIds, workspaceIds }: User, accounts: Account[]): string {
  if (!accountIds) return t(workspaceIds ? "people.someWorkspaces" : "people.everything");
  if (accountIds.length === 0) return t("common.none");
  return accountIds.map((id) => accounts.find((account) => account.id === id)?.name ?? id).join(", ");
}

function Reach({ accounts, chosen, onChange, error, isDisabled }: {
  accounts: Account[]; chosen: string[] | null; onChange: (chosen: string[] | null) => void; error?: string | null; isDisabled?: boolean;
}) {
  return (
    <div className="stack tight">
      <Radios label={t("people.reach")} value={chosen ? "some" : "all"} onChange={(value) => onChange(value === "all" ? null : [])} error={error} isDisabled={isDisabled}
        options={[{ value: "all", label: t("people.everything") }, { value: "some", label: t("people.someNumbers"), isDisabled: accounts.length === 0 }]} />
      {chosen && (
        <fieldset className="stack tight" style={{ paddingInlineStart: "1.75rem" }}>
          <legend className="visually-hidden">{t("people.someNumbers")}</legend>
          {accounts.map(({ id, name }) => <Check key={id} isDisabled={isDisabled} value={chosen.includes(id)} onChange={(isOn) => onChange(isOn ? [...chosen, id] : chosen.filter((other) => other !== id))}>{name}</Check>)}
        </fieldset>
      )}
    </div>
  );
}

function Invite({ accounts, onClose, onDone }: { accounts: Account[]; onClose: () => void; onDone: (made: { user: User; link: string }) => void }) {
  const invite = useCommand(InviteUserDocument, null);
  const [name, setName] = useState("");
  const [email, setEmail] = useState("");
  const [role, setRole] = useState<Role>("VIEWER");
  const [chosen, setChosen] = useState<string[] | null>(null);
  const isReady = name.trim() && email.trim() && chosen?.length !== 0;
  const about = (field: string) => (isAbout(invite.problem, field) ? invite.problem?.detail : null);
  const save = async (event: FormEvent) => {
    event.preventDefault();
    if (!isReady) return;
    const done = await invite.run({ input: { name: name.trim(), email: email.trim(), role, accountIds: chosen, idempotencyKey: once } });
    if (done) onDone(done.inviteUser);
  };
  return (
    <Dialog title={t("people.invite")} isOpen onClose={onClose}>
      <form className="stack" onSubmit={(event) => void save(event)}>
        <TextInput label={t("people.name")} value={name} onChange={setName} isRequired autoFocus autoComplete="off" error={about("name")} />
        <TextInput label={t("login.email")} type="email" value={email} onChange={setEmail} isRequired autoComplete="off" error={about("email")} />
        <Radios label={t("people.role")} value={role} onChange={setRole} options={roleOptions()} error={about("role")} />
        <Reach accounts={accounts} chosen={chosen} onChange={setChosen} error={about("accountIds")} />
        <Failure problem={invite.problem} />
        <div className="row end"><Button onPress={onClose}>{t("common.cancel")}</Button><Button type="submit" look="primary" busy={invite.isSaving} isDisabled={!isReady}>{t("people.inviteDo")}</Button></div>
      </form>
    </Dialog>
  );
}

function Edit({ user, accounts, onClose }: { user: User; accounts: Account[]; onClose: () => void }) {
  const { viewer } = useViewer();
  const isSelf = user.id === viewer.id;
  const update = useCommand(UpdateUserDocument);
  const [name, setName] = useState(user.name);
  const [email, setEmail] = useState(user.email);
  const [role, setRole] = useState<Role>(user.role);
  const [chosen, setChosen] = useState<string[] | null>(user.accountIds);
  const isOtherReach = JSON.stringify(chosen && [...chosen].sort()) !== JSON.stringify(user.accountIds && [...user.accountIds].sort());
  const isOtherRole = role !== user.role;
  const isReady = name.trim() && email.trim() && chosen?.length !== 0;
  const about = (field: string) => (isAbout(update.problem, field) ? update.problem?.detail : null);
  const save = async (event: FormEvent) => {
    event.preventDefault();
    if (!isReady) return;
    // Signing in moves the sequence too, so that it would refuse what nobody else has changed; only what differs is sent.
    const done = await update.run({ input: {
      id: user.id,
      ...(name.trim() === user.name ? {} : { name: name.trim() }),
      ...(email.trim() === user.email ? {} : { email: email.trim() }),
      ...(isOtherRole ? { role } : {}),
      ...(isOtherReach ? { accountIds: chosen } : {}),
    } });
    if (!done) return;
    if (isSelf) refreshViewer();
    onClose();
  };
  return (
    <Dialog title={t("people.editTitle", { name: user.name })} isOpen onClose={onClose}>
      <form className="stack" onSubmit={(event) => void save(event)}>
        <TextInput label={t("people.name")} value={name} onChange={setName} isRequired autoFocus autoComplete="off" error={about("name")} />
        <TextInput label={t("login.email")} help={t("people.emailHelp")} type="email" value={email} onChange={setEmail} isRequired autoComplete="off" error={about("email")} />
        <Radios label={t("people.role")} help={isSelf ? t("people.ownRole") : undefined} isDisabled={isSelf} value={role} onChange={setRole} options={roleOptions()} error={about("role")} />
        <Reach accounts={accounts} chosen={chosen} onChange={setChosen} isDisabled={isSelf} error={about("accountIds")} />
        {(isOtherReach || isOtherRole) && user.joinedAt && <Callout tone="warn" title={t("people.signsOut")} />}
        <Failure problem={update.problem} />
        <div className="row end"><Button onPress={onClose}>{t("common.cancel")}</Button><Button type="submit" look="primary" busy={update.isSaving} isDisabled={!isReady}>{t("common.save")}</Button></div>
      </form>
    </Dialog>
  );
}

function LinkOnce({ user, link, onClose }: { user: User; link: string; onClose: () => void }) {
  return (
    <Dialog title={t(user.joinedAt ? "people.linkTitle" : "people.invitedTitle", { name: user.name })} isOpen stays onClose={onClose}>
      {link === "" && <Callout tone="bad" title={t("people.linkLost")} />}
      {link && (
        <>
          <Callout tone="warn" title={t("people.linkOnce")} />
          <p>{t("people.linkHelp", { name: user.name })}</p>
          <div className="row nowrap secret"><code className="break grow" dir="ltr">{link}</code><Copy text={link} label={t("people.copyLink")} /></div>
        </>
      )}
      <div className="row end"><Button look="primary" onPress={onClose}>{link ? t("people.linkKept") : t("common.close")}</Button></div>
    </Dialog>
  );
}
