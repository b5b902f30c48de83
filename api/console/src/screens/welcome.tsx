//! What the one-time links open: the first owner's set-up, an invitation, a new password.
import { useNavigate } from "@tanstack/react-router";
import { useState, type FormEvent } from "react";
import { t } from "~/i18n";
import type { Problem } from "~/lib/errors";
import { forgetLink, useLinkToken } from "~/lib/link";
import { acceptLink } from "~/lib/session";
import { refreshViewer } from "~/shell";
import { TextInput } from "~/ui/fields";
import { Outside } from "~/ui/outside";
import { Button, ButtonLink, Callout } from "~/ui/parts";
import { isPassword, PasswordInput } from "~/ui/password";

type Purpose = "setup" | "join" | "newPassword";

export const SetupScreen = () => <Welcome purpose="setup" />;
export const JoinScreen = () => <Welcome purpose="join" />;
export const NewPasswordScreen = () => <Welcome purpose="newPassword" />;

function Welcome({ purpose }: { purpose: Purpose }) {
  const token = useLinkToken();
  const navigate = useNavigate();
  const [name, setName] = useState("");
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const [problem, setProblem] = useState<Problem | null>(null);
  const [isBusy, setBusy] = useState(false);
  const asksWho = purpose === "setup";
  const isReady = isPassword(password) && (!asksWho || (!!name.trim() && !!email.trim()));

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (!token || !isReady) return;
    setBusy(true);
    setProblem(null);
    const reply = await acceptLink({ token, password, ...(asksWho ? { name: name.trim(), email: email.trim() } : {}) });
    setBusy(false);
    if (!reply.body) return setProblem(reply.problem);
    forgetLink();
    await navigate({ to: "/", replace: true });
    refreshViewer();
  };

  const isSpent = problem?.code === "UNAUTHENTICATED";
  if (!token || isSpent) return (
    <Outside title={t(`welcome.${purpose}`)}>
      <Callout tone="warn" title={t(isSpent ? "welcome.spent" : "welcome.noToken")}>
        <p>{t(asksWho ? "welcome.newSetupLink" : "welcome.newLink")}</p>
      </Callout>
      <ButtonLink to="/">{t("welcome.toSignIn")}</ButtonLink>
    </Outside>
  );
  const about = (field: string) => (problem?.field === field ? problem.detail : null);
  const isElsewhere = problem && !["name", "email", "password"].includes(problem.field ?? "");
  return (
    <Outside title={t(`welcome.${purpose}`)}>
      <form className="stack" onSubmit={(event) => void submit(event)}>
        <p className="muted">{t(`welcome.${purpose}Help`)}</p>
        {isElsewhere && <Callout tone="bad" title={problem.sentence}>{problem.detail && <p>{problem.detail}</p>}</Callout>}
        {asksWho && <TextInput label={t("people.name")} autoComplete="name" value={name} onChange={setName} error={about("name")} isRequired autoFocus />}
        {asksWho && <TextInput label={t("login.email")} help={t("welcome.emailHelp")} type="email" autoComplete="username" value={email} onChange={setEmail} error={about("email")} isRequired />}
        <PasswordInput label={t("password.new")} value={password} onChange={setPassword} isNew error={about("password")} autoFocus={!asksWho} />
        <Button type="submit" look="primary" busy={isBusy} isDisabled={!isReady}>{t(`welcome.${purpose}Do`)}</Button>
      </form>
    </Outside>
  );
}
