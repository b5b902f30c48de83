import { RouterProvider } from "@tanstack/react-router";
import { StrictMode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { I18nProvider } from "react-aria-components";
import { speak } from "~/i18n";
import "~/lib/drafts";
import { watchLinks } from "~/lib/link";
import { applyToDocument, usePreferences } from "~/lib/preferences";
import { router } from "~/router";
import "~/styles/tokens.css";
import "~/styles/console.css";

/** React Aria takes the direction from the language. */
const ariaLocales = { en: "en-US", pt: "pt-BR", es: "es-ES" };

function Console() {
  const { language, direction, zone } = usePreferences();
  const [spoken, setSpoken] = useState(language);
  useEffect(() => void speak(language).then(() => setSpoken(language)), [language]);
  return (
    <I18nProvider locale={direction === "rtl" ? "ar-AE" : ariaLocales[spoken]}>
      <RouterProvider key={spoken + zone} router={router} />
    </I18nProvider>
  );
}

watchLinks();
applyToDocument();
void speak().then(() =>
  createRoot(document.getElementById("root") as HTMLElement).render(
    <StrictMode>
      <Console />
    </StrictMode>,
  ),
);
