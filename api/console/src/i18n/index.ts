//! What the console says. English is the form that the others are checked against, by the compiler and a script.
import i18next, { type TOptions } from "i18next";
import en from "./en.json";
import { preferences, type Language } from "~/lib/preferences";

type Plural = "_zero" | "_one" | "_two" | "_few" | "_many" | "_other";
type Base<K> = K extends `${infer B}${Plural}` ? B : K extends string ? K : never;
export type Key = Base<keyof typeof en>;

const catalogues: Record<Language, () => Promise<{ default: Record<string, string> }>> = {
  en: async () => ({ default: en }),
  pt: () => import("./pt.json"),
  es: () => import("./es.json"),
};

export async function speak(language: Language = preferences().language): Promise<void> {
  if (!i18next.isInitialized) {
    await i18next.init({
      lng: "en",
      fallbackLng: "en",
      keySeparator: false,
      nsSeparator: false,
      showSupportNotice: false,
      interpolation: { escapeValue: false, prefix: "{", suffix: "}" },
      resources: { en: { translation: en } },
    } as Parameters<typeof i18next.init>[0]);
  }
  const { default: texts } = await catalogues[language]();
  i18next.addResourceBundle(language, "translation", texts, true, true);
  await i18next.changeLanguage(language);
}

export function t(key: Key, values?: Record<string, string | number>): string {
  return i18next.t(key as string, values as TOptions) as string;
}

export const has = (key: string): boolean => i18next.exists(key);
