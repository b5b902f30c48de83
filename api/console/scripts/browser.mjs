// What the scripts share: the browser, and where the console is. With SERVED the gateway of SETUP_LINK serves it, as people have
// it, and its first owner comes in by that link; else Vite does, with a proxy to GATEWAY_URL.
import { preview } from "vite";

export const launch = {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
};

const link = process.env.SETUP_LINK;

/** The address of the console, and how to stop what was started for it. */
export async function serve(port = Number(process.env.PORT ?? 4173)) {
  if (process.env.SERVED) return { base: `${new URL(link).origin}/console/`, stop: async () => {} };
  const server = await preview({ preview: { port, strictPort: true }, logLevel: "error" });
  return { base: `http://127.0.0.1:${port}/console/`, stop: () => new Promise((done) => server.httpServer.close(done)) };
}

/** Lets the first owner in, where the gateway asks who is there. */
export async function comeIn(page) {
  if (!process.env.SERVED) return;
  await page.goto(link);
  await page.getByLabel("Name", { exact: true }).fill("Ada Owner");
  await page.getByLabel("Email", { exact: true }).fill("ada@example.com");
  await page.getByLabel("New password", { exact: true }).fill("correct horse battery");
  await page.getByRole("button", { name: "Set up and sign in", exact: true }).click();
  await page.getByRole("navigation", { name: "Main menu" }).waitFor();
}
