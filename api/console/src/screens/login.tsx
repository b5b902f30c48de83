import { useState, type FormEvent } from "react";
import { t } from "~/i18n";
import { login, type LoginResult } from "~/lib/session";
import { TextInput } from "~/ui/fields";
import { Logo } from "~/ui/icons";
import { Button, Callout } from "~/ui/parts";

export default function Login({ onDone }: { onDone: () => void }) {
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const [totp, setTotp] = useState("");
  const [result, setResult] = useState<LoginResult | null>(null);
  const [isBusy, setBusy] = useState(false);
  const asksCode = result === "totpRequired" || totp !== "";

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    const next = await login({ email, password, ...(totp ? { totp: totp.replace(/\s/g, "") } : {}) });
    setBusy(false);
    setResult(next);
    if (next === "ok") onDone();
  };

  return (
    <main className="login">
      <section className="card">
        <form className="card-body" onSubmit={(event) => void submit(event)}>
          <div className="row"><Logo /><h1>{t("login.title")}</h1></div>
          {result === "wrong" && <Callout tone="bad" title={t("login.wrong")} />}
          {result === "throttled" && <Callout tone="warn" title={t("login.throttled")} />}
          {result === "unavailable" && <Callout tone="bad" title={t("error.OFFLINE")} />}
          <TextInput label={t("login.email")} type="email" autoComplete="username" value={email} onChange={setEmail} isRequired autoFocus />
          <TextInput label={t("login.password")} type="password" autoComplete="current-password" value={password} onChange={setPassword} isRequired />
          {asksCode && <TextInput label={t("login.code")} help={t("login.codeHelp")} autoComplete="one-time-code" inputMode="numeric" value={totp} onChange={setTotp} autoFocus />}
          <Button type="submit" look="primary" busy={isBusy}>{t("login.submit")}</Button>
        </form>
      </section>
    </main>
  );
}
