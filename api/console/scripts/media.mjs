// A template whose header is a picture: the sample is uploaded, the template is approved, and a message with a picture of its own is
// delivered. Left out where the gateway takes no samples.
import { gql, newNumber, people, walk } from "./browser.mjs";

const png = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==", "base64");

const { __type: mutation } = await gql('{ __type(name: "Mutation") { fields { name } } }');
if (!mutation.fields.some(({ name }) => name === "uploadTemplateSample")) {
  console.log("LEFT OUT: this gateway has no uploadTemplateSample");
  process.exit(0);
}

await walk("media", async (page, { base, step, check, button, see, mark }) => {
  const phone = newNumber();
  const [id] = Object.values(await people([{ phone, name: `Pia ${mark}` }], `media-${mark}`));

  step("writes a template with a picture above it");
  await page.goto(`${base}templates/new`);
  await page.getByRole("textbox", { name: "Name", exact: true }).fill(`picture_${mark}`);
  await page.getByRole("button", { name: /Above the message/ }).click();
  await page.getByRole("option", { name: "An image" }).click();
  await page.getByRole("textbox", { name: "Message", exact: true }).fill("Our new shop, as it looks from the street. Reply STOP to end.");
  await page.getByText("Choose a sample of the header’s file.").waitFor();
  await page.setInputFiles("input[type=file]", { name: "large.png", mimeType: "image/png", buffer: Buffer.alloc(3_000_001) });
  await page.getByText("This file is larger than 3 MB. Choose a smaller one.").waitFor();
  await page.setInputFiles("input[type=file]", { name: "shop.png", mimeType: "image/png", buffer: png });
  await see(page, "shop.png");
  await button(page, "Submit for review").click();
  await see(page, "Approved");

  step("sends it with a picture of its own");
  await page.goto(`${base}contacts/${id}`);
  await button(page, "Send a message").click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("button", { name: /Template/ }).click();
  await page.getByRole("option", { name: new RegExp(`picture_${mark}`) }).click();
  check(await dialog.getByRole("button", { name: "Send", exact: true }).isDisabled(), "it can be sent without a picture");
  await dialog.getByRole("textbox", { name: "Picture in the header" }).fill("https://example.com/shop.png");
  await dialog.getByRole("button", { name: "Send", exact: true }).click();
  await page.locator(".page-head .badge", { hasText: /Delivered|Read/ }).waitFor();
  const { messages } = await gql("query($c: [ID!]) { messages(first: 1, filter: { contactIds: $c }) { nodes { content } } }", { c: [id] });
  check(JSON.stringify(messages.nodes[0].content).includes("https://example.com/shop.png"), `the message has ${JSON.stringify(messages.nodes[0].content)}`);
});
