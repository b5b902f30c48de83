import optimizeLocales from "@react-aria/optimize-locales-plugin";
import react from "@vitejs/plugin-react";
import { fileURLToPath } from "node:url";
import { defineConfig, type ProxyOptions } from "vite";

// While developing, the proxy is who is asking: it puts the key on, so that no key is ever in a browser.
const gateway = process.env.GATEWAY_URL ?? "http://127.0.0.1:8080";
const key = process.env.GATEWAY_KEY;
const toGateway: ProxyOptions = {
  target: gateway,
  changeOrigin: true,
  ws: true,
  ...(key ? { headers: { authorization: `Bearer ${key}` } } : {}),
};
const proxy = Object.fromEntries(
  ["/graphql", "/session", "/imports", "/media"].map((path) => [`^${path}(/|\\?|$)`, toGateway]),
);

export default defineConfig({
  base: "/console/",
  resolve: { alias: { "~": fileURLToPath(new URL("./src", import.meta.url)) } },
  plugins: [
    react(),
    // The texts that React Aria itself speaks, in the languages that the console has (and one that reads right to left).
    { ...optimizeLocales.vite({ locales: ["en-US", "pt-BR", "es-ES", "ar-AE"] }), enforce: "pre" },
  ],
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    manifest: true,
  },
  server: { host: "127.0.0.1", port: 5173, proxy },
  preview: {
    host: "127.0.0.1",
    port: 4173,
    strictPort: true,
    proxy,
    // As strict as the gateway means to be, so that nothing creeps in that would need less.
    headers: {
      "content-security-policy":
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    },
  },
});
