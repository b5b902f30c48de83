//! A message as a phone shows it: WhatsApp's own marks for bold, italic and the like, and its buttons.
import type { ReactNode } from "react";
import { t } from "~/i18n";
import type { Component } from "~/lib/template";

const str = (value: unknown): string => (typeof value === "string" ? value : "");

const marks: [RegExp, (inner: ReactNode, key: number) => ReactNode][] = [
  [/\*([^*\n]+)\*/, (inner, key) => <b key={key}>{inner}</b>],
  [/_([^_\n]+)_/, (inner, key) => <i key={key}>{inner}</i>],
  [/~([^~\n]+)~/, (inner, key) => <s key={key}>{inner}</s>],
];

/** With WhatsApp's own marks. */
export function formatted(text: string, depth = 0): ReactNode {
  const mark = marks[depth];
  if (!mark) return text;
  const [pattern, wrap] = mark;
  const parts: ReactNode[] = [];
  let rest = text;
  for (let key = 0; rest; key++) {
    const match = pattern.exec(rest);
    if (!match) {
      parts.push(<span key={key}>{formatted(rest, depth + 1)}</span>);
      break;
    }
    if (match.index > 0) parts.push(<span key={`${key}t`}>{formatted(rest.slice(0, match.index), depth + 1)}</span>);
    parts.push(wrap(formatted(match[1] as string, depth + 1), key));
    rest = rest.slice(match.index + match[0].length);
  }
  return parts;
}

/** `{{1}}` filled with what stands for it, marked so that one sees what will differ from person to person. */
function filled(text: string, prefix: string, values: Record<string, string>): ReactNode {
  return text.split(/(\{\{\s*\w+\s*\}\})/).map((part, index) => {
    const name = /\{\{\s*(\w+)\s*\}\}/.exec(part)?.[1];
    if (!name) return <span key={index}>{formatted(part)}</span>;
    return <span key={index} className="slot">{values[`${prefix}.${name}`] || part}</span>;
  });
}

const mediaWords: Record<string, "phone.image" | "phone.video" | "phone.document" | "phone.location"> = { IMAGE: "phone.image", VIDEO: "phone.video", DOCUMENT: "phone.document", LOCATION: "phone.location" };

/** `values`: by parameter, as sends name them: `body.1`, `header.1`. */
export function Phone({ components, values = {}, title }: { components: unknown; values?: Record<string, string>; title?: string }) {
  const parts = (Array.isArray(components) ? components : []) as Component[];
  const of = (type: string) => parts.find((part) => str(part.type).toUpperCase() === type);
  const header = of("HEADER");
  const body = of("BODY");
  const footer = of("FOOTER");
  const buttons = (of("BUTTONS")?.buttons ?? []) as Component[];
  const format = str(header?.format).toUpperCase();
  const isCode = !!body && "add_security_recommendation" in body && !body.text;
  const minutes = footer?.code_expiration_minutes;
  return (
    <figure className="phone" aria-label={title ?? t("phone.preview")}>
      <div className="bubble" dir="auto">
        {header && format !== "TEXT" && <div className="media">{t(mediaWords[format] ?? "phone.document")}</div>}
        <div className="text">
          {header && format === "TEXT" && <span className="head">{filled(str(header.text), "header", values)}</span>}
          <span>
            {isCode ? <><b>123456</b> {t("phone.code")}{body.add_security_recommendation ? ` ${t("phone.codeAdvice")}` : ""}</>
              : body && str(body.text) ? filled(str(body.text), "body", values) : <span className="foot">{t("phone.empty")}</span>}
          </span>
          {footer && <span className="foot">{minutes ? t("phone.codeExpires", { n: String(minutes) }) : str(footer.text)}</span>}
          <span className="when" aria-hidden="true">09:41</span>
        </div>
        {buttons.map((button, index) => (
          <div key={index} className="tap">{str(button.type) === "COPY_CODE" || str(button.type) === "OTP" ? t("phone.copyCode") : str(button.text) || "…"}</div>
        ))}
      </div>
    </figure>
  );
}
