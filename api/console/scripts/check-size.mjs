// What the console costs to load, as it goes over the wire: the first route, and all of it.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const dist = new URL("../dist/", import.meta.url).pathname;
const initial_max_kb = 200;
const total_max_kb = 450;

const manifest = JSON.parse(readFileSync(join(dist, ".vite/manifest.json"), "utf8"));
const size = (file) => gzipSync(readFileSync(join(dist, file)), { level: 9 }).length / 1000;
const entry = Object.values(manifest).find(({ isEntry }) => isEntry);
const needed = new Set();
const collect = (chunk) => {
  if (needed.has(chunk.file)) return;
  needed.add(chunk.file);
  for (const name of chunk.imports ?? []) collect(manifest[name]);
};
collect(entry);
const sum = (names) => names.reduce((total, name) => total + size(name), 0);
const scripts = readdirSync(join(dist, "assets")).filter((name) => name.endsWith(".js")).map((name) => `assets/${name}`);
const initial = sum([...needed].filter((name) => name.endsWith(".js")));
const total = sum(scripts);
console.log(`initial route ${initial.toFixed(1)} kB of ${initial_max_kb}, whole console ${total.toFixed(1)} kB of ${total_max_kb} (gzip)`);
if (process.argv.includes("--list")) for (const name of scripts.sort((a, b) => size(b) - size(a))) console.log(`${size(name).toFixed(1).padStart(7)} ${needed.has(name) ? "*" : " "} ${name}`);
if (initial > initial_max_kb || total > total_max_kb) {
  console.error("the console has grown beyond its budget");
  process.exit(1);
}
