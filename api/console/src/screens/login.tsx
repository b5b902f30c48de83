import { useState, type FormEvent } from "react";
import { t } from "~/i18n";
import type { Problem } from "~/lib/errors";
import { login } from "~/lib/session";
import { TextInput } from "~/ui/fields";
import { Button, Callout } from "~/ui/parts";
import { Outside } from "~/ui/outside";
import { PasswordInput } from "~/ui/password";

/** `email`: whose session has ended, while they were at it. */
export default function Login({ email: whose, onDone }: { email?: string; onDone: () => void }) {
  const [email, setEmail] = useState(whose ?? "");
  const [password, setPassword] = useState("");
  const [code, setCode] = useState("");
  const [asksCode, setAsksCode] = useState(false);
  const [hasPhone, setHasPhone] = useState(true);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [isBusy, setBusy] = useState(false);

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    const reply = await login({ email: email.trim(), password, ...(asksCode ? { code: code.trim() } : {}) });
    setBusy(false);
    if (reply.body) return onDone();
    const wantsCode = reply.problem.code === "UNAUTHENTICATED" && reply.problem.field === "code";
    if (wantsCode && !asksCode) return setAsksCode(true);
    setCode("");
    setProblem(reply.problem);
  };
  const startOver = () => {
    setAsksCode(false);
    setPassword("");
    setCode("");
    setProblem(null);
  };
  const wrongCode = problem?.field === "code" ? t("login.wrongCode") : null;

  return (
    <Outside title={t(asksCode ? "login.codeTitle" : "login.title")}>
      <form className="stack" onSubmit={(event) => void submit(event)}>
        {whose && !asksCode && !problem && <Callout tone="warn" title={t("login.ended")}><p>{t("login.endedHelp")}</p></Callout>}
        {problem && !wrongCode && (
          problem.code === "UNAUTHENTICATED" ? <Callout tone="bad" title={t("login.wrong")} />
            : problem.code === "RATE_LIMITED" ? <Callout tone="bad" title={t("login.throttled")}><p>{problem.detail}</p></Callout>
              : <Callout tone="bad" title={problem.sentence}>{problem.code === "FORBIDDEN" && <p>{problem.detail}</p>}</Callout>
        )}
        {!asksCode && (
          <>
            <TextInput label={t("login.email")} type="email" autoComplete="username" value={email} onChange={setEmail} isRequired autoFocus={!whose} />
            <PasswordInput label={t("login.password")} value={password} onChange={setPassword} autoFocus={!!whose} />
            {/* Never disabled: a browser may tell what it filled in only when somebody presses. */}
            <Button type="submit" look="primary" busy={isBusy && t("login.busy")}>{t("login.submit")}</Button>
            <p className="help">{t("login.forgot")}{!whose && <> {t("login.firstTime")}</>}</p>
          </>
        )}
        {asksCode && (
          <>
            <p className="muted break">{t("login.codeFor", { email: email.trim() })}</p>
            {hasPhone
              ? <TextInput key="app" label={t("login.code")} help={t("login.codeHelp")} autoComplete="one-time-code" inputMode="numeric" value={code} onChange={setCode} error={wrongCode} isRequired autoFocus />
              : <TextInput key="recovery" label={t("login.recovery")} help={t("login.recoveryHelp")} autoComplete="off" value={code} onChange={setCode} error={wrongCode} isRequired autoFocus mono />}
            <Button type="submit" look="primary" busy={isBusy && t("login.busy")} isDisabled={!code.trim()}>{t("login.submit")}</Button>
            <div className="row between">
              <button type="button" className="linklike" onClick={() => { setHasPhone(!hasPhone); setCode(""); setProblem(null); }}>{t(hasPhone ? "login.useRecovery" : "login.useApp")}</button>
              <button type="button" className="linklike" onClick={startOver}>{t("login.startOver")}</button>
            </div>
          </>
        )}
      </form>
    </Outside>
  );
}
