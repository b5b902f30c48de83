import { useState, type FormEvent } from "react";
import { RevokeUserSessionsDocument } from "~/gen/graphql";
import { t } from "~/i18n";
import { useCommand } from "~/lib/data";
import type { Problem } from "~/lib/errors";
import { changePassword, confirmSecondFactor, endSecondFactor, enrolSecondFactor, useSession, type Person } from "~/lib/session";
import { useViewer } from "~/lib/viewer";
import { signOut } from "~/shell";
import { TextInput } from "~/ui/fields";
import { Dialog, useConfirm } from "~/ui/overlay";
import { Badge, Button, Callout, Card, Copy, Facts, Failure, Page } from "~/ui/parts";
import { isPassword, PasswordInput } from "~/ui/password";
import { QrCode } from "~/ui/qr";
import { SettingsTabs } from "~/ui/settings-tabs";
import { announce } from "~/ui/toasts";

export function SignInScreen() {
  const session = useSession();
  return (
    <Page title={t("nav.settings")}>
      <SettingsTabs />
      {session.kind !== "person" && <Callout title={t("signIn.byKey")} />}
      {session.kind === "person" && (
        <div className="stack loose measure">
          <Who person={session.person} />
          <Password person={session.person} />
          <SecondFactor person={session.person} />
          <Sessions person={session.person} />
        </div>
      )}
    </Page>
  );
}

function Who({ person }: { person: Person }) {
  const { can } = useViewer();
  return (
    <Card title={t("signIn.who")}>
      <Facts items={[
        [t("people.name"), person.name],
        [t("login.email"), person.email],
        [t("people.role"), <>{t(`role.${person.role}`)}<span className="help" style={{ display: "block" }}>{t(`roleHint.${person.role}`)}</span></>],
      ]} />
      <p className="help">{t(can("ADMIN") ? "signIn.whoOwner" : "signIn.whoOther")}</p>
    </Card>
  );
}

/** What is wrong with the password that has to be given once more. */
const ofCurrent = (problem: Problem | null): string | null => (problem?.field === "currentPassword" ? t("password.notYours") : null);

function Password({ person }: { person: Person }) {
  const [current, setCurrent] = useState("");
  const [next, setNext] = useState("");
  const [problem, setProblem] = useState<Problem | null>(null);
  const [isBusy, setBusy] = useState(false);
  const isReady = !!current && isPassword(next);
  const save = async (event: FormEvent) => {
    event.preventDefault();
    if (!isReady) return;
    setBusy(true);
    const reply = await changePassword(current, next);
    setBusy(false);
    setProblem(reply.problem);
    if (!reply.body) return;
    setCurrent("");
    setNext("");
    announce(t("password.changed"), "good");
  };
  const aboutNew = problem?.field === "password" ? problem.detail : null;
  return (
    <form onSubmit={(event) => void save(event)}>
      <Card title={t("login.password")} foot={<Button type="submit" look="primary" busy={isBusy} isDisabled={!isReady}>{t("password.change")}</Button>}>
        <p className="muted">{t("password.changeHelp")}</p>
        {/* So that a password manager knows whose password this is. */}
        <input type="email" autoComplete="username" value={person.email} readOnly hidden />
        <PasswordInput label={t("password.current")} value={current} onChange={setCurrent} error={ofCurrent(problem)} />
        <PasswordInput label={t("password.new")} value={next} onChange={setNext} isNew error={aboutNew} />
        {problem && !ofCurrent(problem) && !aboutNew && <Failure problem={problem} />}
      </Card>
    </form>
  );
}

function SecondFactor({ person }: { person: Person }) {
  const [enrolment, setEnrolment] = useState<{ secret: string; uri: string } | null>(null);
  const [codes, setCodes] = useState<string[] | null>(null);
  const [asked, setAsked] = useState<"begin" | "end" | null>(null);
  const close = () => setAsked(null);
  const begin = async (password: string) => {
    const reply = await enrolSecondFactor(password);
    if (reply.body) setEnrolment(reply.body);
    return reply.problem;
  };
  const end = async (password: string) => {
    const reply = await endSecondFactor(password);
    if (reply.body) announce(t("factor.ended"), "good");
    return reply.problem;
  };
  return (
    <Card title={t("factor.title")} actions={<Badge tone={person.hasSecondFactor ? "good" : "muted"}>{t(person.hasSecondFactor ? "people.on" : "people.off")}</Badge>}>
      <p className="muted">{t("factor.help")}</p>
      {!person.hasSecondFactor && !enrolment && <div><Button look="primary" onPress={() => setAsked("begin")}>{t("factor.begin")}</Button></div>}
      {!person.hasSecondFactor && enrolment && <Enrol {...enrolment} onCancel={() => setEnrolment(null)} onDone={(made) => { setEnrolment(null); setCodes(made); }} />}
      {person.hasSecondFactor && <div><Button look="danger" onPress={() => setAsked("end")}>{t("factor.end")}</Button></div>}
      {codes && <RecoveryCodes codes={codes} email={person.email} onClose={() => setCodes(null)} />}
      {asked === "begin" && <AskPassword person={person} title={t("factor.begin")} body={t("factor.beginBody")} action={t("common.continue")} look="primary" run={begin} onClose={close} />}
      {asked === "end" && <AskPassword person={person} title={t("factor.end")} body={t("factor.endBody")} action={t("factor.end")} look="danger" run={end} onClose={close} />}
    </Card>
  );
}

function Enrol({ secret, uri, onCancel, onDone }: { secret: string; uri: string; onCancel: () => void; onDone: (codes: string[]) => void }) {
  const [code, setCode] = useState("");
  const [problem, setProblem] = useState<Problem | null>(null);
  const [isBusy, setBusy] = useState(false);
  const confirm = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    const reply = await confirmSecondFactor(code.trim());
    setBusy(false);
    setProblem(reply.problem);
    if (reply.body) onDone(reply.body.recoveryCodes);
  };
  const wrong = problem?.field === "code" ? t("factor.wrongCode") : null;
  return (
    <form onSubmit={(event) => void confirm(event)}>
      <ol className="numbered">
        <li>
          <p>{t("factor.scan")}</p>
          <QrCode text={uri} label={t("factor.qr")} />
          <details>
            <summary>{t("factor.cannotScan")}</summary>
            <p className="help">{t("factor.typeSecret")}</p>
            <div className="row nowrap secret"><code className="break grow" dir="ltr">{secret.replace(/(.{4})(?=.)/g, "$1 ")}</code><Copy text={secret} label={t("factor.copySecret")} /></div>
          </details>
        </li>
        <li>
          <TextInput label={t("factor.firstCode")} help={t("login.codeHelp")} autoComplete="one-time-code" inputMode="numeric" value={code} onChange={setCode} error={wrong} isRequired />
          {problem && !wrong && <Failure problem={problem} />}
          <div className="row"><Button type="submit" look="primary" busy={isBusy} isDisabled={code.replace(/\s/g, "").length !== 6}>{t("factor.confirm")}</Button><Button onPress={onCancel}>{t("common.cancel")}</Button></div>
        </li>
      </ol>
    </form>
  );
}

function RecoveryCodes({ codes, email, onClose }: { codes: string[]; email: string; onClose: () => void }) {
  const save = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([`WhatsApp Gateway · ${location.host} · ${email}\n\n${codes.join("\n")}\n`], { type: "text/plain" }));
    link.download = "whatsapp-gateway-recovery-codes.txt";
    link.click();
    URL.revokeObjectURL(link.href);
  };
  const copy = () => void navigator.clipboard.writeText(codes.join("\n")).then(() => announce(t("common.copied"), "good"));
  return (
    <Dialog title={t("factor.codes")} isOpen stays onClose={onClose}>
      <Callout tone="warn" title={t("key.once")} />
      <p>{t("factor.codesHelp")}</p>
      <ul className="codes" dir="ltr">{codes.map((code) => <li key={code}>{code}</li>)}</ul>
      <div className="row"><Button icon="copy" onPress={copy}>{t("factor.copyCodes")}</Button><Button icon="download" onPress={save}>{t("factor.saveCodes")}</Button></div>
      <div className="row end"><Button look="primary" onPress={onClose}>{t("key.kept")}</Button></div>
    </Dialog>
  );
}

/** That whoever sits there is who signed in, before what could lock them out. */
function AskPassword({ person, title, body, action, look, run, onClose }: {
  person: Person; title: string; body: string; action: string; look: "primary" | "danger"; run: (password: string) => Promise<Problem | null>; onClose: () => void;
}) {
  const [password, setPassword] = useState("");
  const [problem, setProblem] = useState<Problem | null>(null);
  const [isBusy, setBusy] = useState(false);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    const problem = await run(password);
    setBusy(false);
    setProblem(problem);
    if (!problem) onClose();
  };
  return (
    <Dialog title={title} isOpen onClose={onClose}>
      <form className="stack" onSubmit={(event) => void submit(event)}>
        <p>{body}</p>
        <input type="email" autoComplete="username" value={person.email} readOnly hidden />
        <PasswordInput label={t("password.current")} value={password} onChange={setPassword} error={ofCurrent(problem)} autoFocus />
        {problem && !ofCurrent(problem) && <Failure problem={problem} />}
        <div className="row end"><Button onPress={onClose}>{t("common.cancel")}</Button><Button type="submit" look={look} busy={isBusy} isDisabled={!password}>{action}</Button></div>
      </form>
    </Dialog>
  );
}

function Sessions({ person }: { person: Person }) {
  const revoke = useCommand(RevokeUserSessionsDocument, null);
  const [dialog, confirm] = useConfirm(revoke.problem, revoke.isSaving);
  return (
    <Card title={t("signIn.sessions")}>
      <p className="muted">{t("signIn.sessionsHelp")}</p>
      <div className="row">
        <Button onPress={() => void signOut()}>{t("session.signOut")}</Button>
        <Button look="danger" onPress={() => confirm({ title: t("signIn.everywhere"), danger: true, body: <p>{t("signIn.everywhereBody")}</p>, action: t("signIn.everywhere"), run: () => revoke.run({ id: person.id }) })}>{t("signIn.everywhere")}</Button>
      </div>
      {dialog}
    </Card>
  );
}
