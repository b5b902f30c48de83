// The three catalogues have the same keys, the same placeholders, every plural form that their language needs, and every key
// that the console asks for.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

const root = new URL("../src/", import.meta.url).pathname;
const read = (language) => JSON.parse(readFileSync(join(root, "i18n", `${language}.json`), "utf8"));
const en = read("en");
const problems = [];
const plural = /_(zero|one|two|few|many|other)$/;
const placeholders = (text) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort().filter((name, index, all) => all.indexOf(name) === index).join(",");
const bases = new Set(Object.keys(en).map((key) => key.replace(plural, "")));

for (const language of ["en", "pt", "es"]) {
  const texts = read(language);
  const forms = new Intl.PluralRules(language).resolvedOptions().pluralCategories;
  const wanted = new Set(Object.keys(en).flatMap((key) => (plural.test(key) ? forms.map((form) => key.replace(plural, `_${form}`)) : [key])));
  for (const key of wanted) if (!texts[key]?.trim()) problems.push(`${language}: ${key} is missing`);
  for (const [key, text] of Object.entries(texts)) {
    if (!wanted.has(key)) problems.push(`${language}: ${key} is not a key`);
    const english = en[key] ?? en[key.replace(plural, "_other")] ?? "";
    if (placeholders(text) !== placeholders(english)) problems.push(`${language}: ${key} has the placeholders ${placeholders(text)}, not ${placeholders(english)}`);
  }
}

const files = (directory) => readdirSync(directory).flatMap((name) => {
  const path = join(directory, name);
  return statSync(path).isDirectory() ? files(path) : /\.tsx?$/.test(name) ? [path] : [];
});
const sources = files(root).map((path) => readFileSync(path, "utf8")).join("\n");
const dynamic = [...sources.matchAll(/`([a-zA-Z.]+)\.\$\{/g)].map(([, prefix]) => `${prefix}.`);
for (const base of bases)
  if (!sources.includes(`"${base}"`) && !dynamic.some((prefix) => base.startsWith(prefix))) problems.push(`en: ${base} is used nowhere`);

if (problems.length > 0) {
  console.error(problems.slice(0, 60).join("\n"));
  process.exit(1);
}
console.log(`${bases.size} texts in each of three languages`);
