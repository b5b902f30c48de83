//! The loop test of a number: one writes to it from one's own phone, and sees the message arrive and its answer delivered.
import { useState, type FormEvent } from "react";
import { LoopTestDocument, TestAccountDocument, type AccountQuery, type LoopTestFieldsFragment } from "~/gen/graphql";
import { t } from "~/i18n";
import { useCommand, useLoad } from "~/lib/data";
import { isAbout } from "~/lib/errors";
import { duration } from "~/lib/format";
import { useViewer } from "~/lib/viewer";
import { remedy } from "~/lib/words";
import { TextInput } from "./fields";
import { Icon } from "./icons";
import { Badge, Button, Callout, Card, Copy, Failure, Time } from "./parts";
import { QrCode } from "./qr";

type Account = Pick<NonNullable<AccountQuery["account"]>, "id" | "provider" | "status" | "phoneNumber" | "webhookUrl" | "webhookPath" | "loopTest">;

const often_ms = 1_000;
/** A number that no network gives to anybody (Ofcom, for drama): the phone of a number that is practised with. */
const practice_phone = "+447700900123";

const isOver = (test: LoopTestFieldsFragment | null | undefined): boolean => !test || test.state === "PASSED" || test.state === "FAILED" || test.state === "EXPIRED";

export function LoopTest({ account }: { account: Account }) {
  const { can } = useViewer();
  const isSandbox = account.provider === "SANDBOX";
  const start = useCommand(TestAccountDocument, null);
  const [phone, setPhone] = useState("");
  const [isAgain, setAgain] = useState(false);
  const [isPolling, setPolling] = useState(!isOver(account.loopTest));
  const { data } = useLoad(LoopTestDocument, { id: account.id }, isPolling ? { everyMs: often_ms } : {});
  const test = data?.account ? data.account.loopTest : account.loopTest;
  const over = isOver(test);
  if (over === isPolling) setPolling(!over);

  const begin = async (event?: FormEvent) => {
    event?.preventDefault();
    if (await start.run({ id: account.id, phone: isSandbox ? practice_phone : phone.trim() })) setAgain(false);
  };
  const isAsking = !test || isAgain;
  const mayStart = can("MANAGE") && account.status !== "DISCONNECTED";
  return (
    <div className="measure stack loose">
      <Card title={t("loop.title")} actions={test && !isAsking && <Verdict test={test} />}>
        <p className="muted">{isSandbox ? t("loop.introSandbox") : t("loop.intro")}</p>
        {isAsking && !mayStart && <Callout title={account.status === "DISCONNECTED" ? t("inbox.disconnected") : t("loop.mayNot")} />}
        {isAsking && mayStart && (
          <form className="stack" onSubmit={(event) => void begin(event)}>
            {!isSandbox && <TextInput label={t("loop.phone")} help={t("loop.phoneHelp")} type="tel" autoComplete="tel" value={phone} onChange={setPhone} isRequired error={isAbout(start.problem, "phone") ? start.problem?.detail : null} placeholder="+44 7700 900123" />}
            {!isAbout(start.problem, "phone") && <Failure problem={start.problem} />}
            <div className="row"><Button type="submit" look="primary" busy={start.isSaving && t("loop.starting")} isDisabled={!isSandbox && !phone.trim()}>{t("loop.start")}</Button></div>
          </form>
        )}
        {test && !isAsking && (
          <>
            {test.state === "WAITING_FOR_INBOUND" && !isSandbox && <Write account={account} />}
            <Steps test={test} isSandbox={isSandbox} />
            <Result test={test} account={account} />
            {over && mayStart && <div className="row">{isSandbox ? <Button busy={start.isSaving && t("loop.starting")} onPress={() => void begin()}>{t("loop.again")}</Button> : <Button onPress={() => setAgain(true)}>{t("loop.again")}</Button>}</div>}
          </>
        )}
      </Card>
    </div>
  );
}

const Verdict = ({ test }: { test: LoopTestFieldsFragment }) => (
  <Badge tone={test.state === "PASSED" ? "good" : test.state === "FAILED" || test.state === "EXPIRED" ? "bad" : "live"}>{t(test.state === "PASSED" ? "loop.passed" : test.state === "FAILED" || test.state === "EXPIRED" ? "loop.failed" : "loop.running")}</Badge>
);

function Write({ account: { phoneNumber } }: { account: Account }) {
  if (!phoneNumber) return <Callout tone="warn" title={t("loop.noNumber")} />;
  const link = `https://wa.me/${phoneNumber.replace(/\D/g, "")}?text=${encodeURIComponent(t("loop.text"))}`;
  return (
    <div className="loop-write">
      <div className="stack tight">
        <p>{t("loop.write")}</p>
        <p className="row nowrap"><strong className="loop-number num" dir="ltr">{phoneNumber}</strong><Copy text={phoneNumber} label={t("common.copy")} /></p>
        <p><a href={link} target="_blank" rel="noopener noreferrer">{t("loop.open")}</a></p>
      </div>
      <QrCode text={link} label={t("loop.qr")} />
    </div>
  );
}

const seconds = (from: string, to: string): string => duration(Math.max(0, (new Date(to).getTime() - new Date(from).getTime()) / 1000));

function Steps({ test, isSandbox }: { test: LoopTestFieldsFragment; isSandbox: boolean }) {
  const steps: { what: string; at: string | null | undefined; since: string | null | undefined }[] = [
    { what: isSandbox ? t("loop.step.inboundSandbox") : t("loop.step.inbound"), at: test.inboundAt, since: test.startedAt },
    { what: t("loop.step.accepted"), at: test.acceptedAt, since: test.inboundAt },
    { what: t("loop.step.delivered"), at: test.deliveredAt, since: test.acceptedAt },
  ];
  const next = steps.findIndex(({ at }) => !at);
  return (
    <ol className="checklist" aria-live="polite">
      {steps.map(({ what, at, since }, index) => (
        <li key={what} data-done={!!at} data-now={index === next && !isOver(test)}>
          <span className="mark" aria-hidden="true">{at ? <Icon name="check" size={14} /> : index + 1}</span>
          <span className="grow what"><span className="strong">{what}</span>{at && <span className="visually-hidden"> {t("home.done")}</span>}
            {index === next && !isOver(test) && <span className="help" style={{ display: "block" }}>{t("loop.waiting")} <Time at={test.expiresAt} /></span>}
          </span>
          {at && <span className="small muted"><Time at={at} />{since && index > 0 ? ` · +${seconds(since, at)}` : ""}</span>}
        </li>
      ))}
    </ol>
  );
}

function Result({ test, account }: { test: LoopTestFieldsFragment; account: Account }) {
  const { message } = test;
  if (test.state === "PASSED") return <Callout tone="good" title={t("loop.works")}><p>{t("loop.took", { time: seconds(test.inboundAt ?? test.startedAt, test.deliveredAt ?? test.startedAt) })}</p></Callout>;
  if (test.state === "FAILED") {
    const { failure, skipReason, statusReason } = message ?? {};
    return (
      <Callout tone="bad" title={failure?.title ?? (skipReason ? t(`skip.${skipReason}`) : t("loop.answerFailed"))}>
        <p>{remedy(failure?.code) ?? failure?.details ?? statusReason ?? t("remedy.none")}</p>
      </Callout>
    );
  }
  if (test.state !== "EXPIRED") return null;
  if (!test.inboundAt) {
    const url = account.webhookUrl ?? account.webhookPath;
    return (
      <Callout tone="bad" title={t("loop.nothingCame")}>
        <ul className="plain-list">
          <li>{t("loop.check.phone")}</li>
          <li>{t("loop.check.callback")} <code className="break">{url}</code></li>
          <li>{t("loop.check.field")}</li>
        </ul>
      </Callout>
    );
  }
  return <Callout tone="bad" title={test.acceptedAt ? t("loop.notDelivered") : t("loop.notAccepted")}><p>{test.acceptedAt ? t("loop.check.statuses") : t("loop.check.health")}</p></Callout>;
}
