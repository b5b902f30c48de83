import optimizeLocales from "@react-aria/optimize-locales-plugin";
import react from "@vitejs/plugin-react";
import { fileURLToPath } from "node:url";
import { defineConfig, type ProxyOptions } from "vite";

// With a key the proxy is who is asking: it puts the key on, so that no key is ever in a browser, and there are no sessions.
// Without one, people sign in; then the gateway compares Host and Origin with its public_url, which has to name this server.
const gateway = process.env.GATEWAY_URL ?? "http://127.0.0.1:8080";
const key = process.env.GATEWAY_KEY;
const toGateway: ProxyOptions = {
  target: gateway,
  changeOrigin: !!key,
  ws: true,
  ...(key ? { headers: { authorization: `Bearer ${key}` } } : {}),
};
const at = (path: string) => `^${path}(/|\\?|$)`;
const proxy: Record<string, ProxyOptions> = {
  ...Object.fromEntries(["/graphql", "/imports", "/media", "/webhooks", "/campaigns"].map((path) => [at(path), toGateway])),
  // `false` answers 404: the console then knows that a key is asking.
  [at("/session")]: key ? { ...toGateway, bypass: () => false } : toGateway,
};

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
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    },
  },
});
