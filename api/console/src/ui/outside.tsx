//! What stands around the screens of who is not signed in yet.
import { useEffect, type ReactNode } from "react";
import { t } from "~/i18n";
import { setPreferences, usePreferences, type Language } from "~/lib/preferences";
import { Logo } from "./icons";

const languages: [Language, string][] = [["en", "English"], ["pt", "Português"], ["es", "Español"]];

export function Outside({ title, children }: { title: string; children: ReactNode }) {
  const { language } = usePreferences();
  useEffect(() => {
    const before = document.title;
    document.title = `${title} · WhatsApp Gateway`;
    return () => void (document.title = before);
  }, [title]);
  return (
    <main className="login">
      <div className="stack">
        <div className="brand"><Logo /> WhatsApp Gateway</div>
        <section className="card"><div className="card-body"><h1>{title}</h1>{children}</div></section>
        <nav className="row small" aria-label={t("settings.language")}>
          {languages.map(([value, name]) => (
            <button key={value} type="button" className="linklike" lang={value} aria-current={value === language ? "true" : undefined} onClick={() => setPreferences({ language: value })}>{name}</button>
          ))}
        </nav>
      </div>
    </main>
  );
}
