//! Enough of CSV to show somebody what is in their file before it is sent. What a column means is decided by the gateway;
//! this proposes, a person decides, and the dry run tells.

export interface Sheet {
  delimiter: string;
  header: string[];
  rows: string[][];
}

const delimiters = [",", ";", "\t", "|"];

/** The first `limit` rows of `text`, with the delimiter that its first line has most of. */
export function readSheet(text: string, limit = 20): Sheet | null {
  const body = text.replace(/^\uFEFF/, "");
  const line = body.slice(0, body.search(/\r|\n|$/));
  const delimiter = delimiters.map((mark) => [mark, line.split(mark).length] as const).sort((a, b) => b[1] - a[1])[0]?.[0] ?? ",";
  const rows: string[][] = [];
  let row: string[] = [];
  let cell = "";
  let isQuoted = false;
  for (let index = 0; index < body.length && rows.length <= limit; index++) {
    const char = body[index] as string;
    if (isQuoted) {
      if (char === '"' && body[index + 1] === '"') cell += body[++index];
      else if (char === '"') isQuoted = false;
      else cell += char;
    } else if (char === '"' && cell.trim() === "") [isQuoted, cell] = [true, ""];
    else if (char === delimiter) [row, cell] = [[...row, cell.trim()], ""];
    else if (char === "\n" || char === "\r") {
      if (char === "\r" && body[index + 1] === "\n") index++;
      row.push(cell.trim());
      if (row.some(Boolean)) rows.push(row);
      [row, cell] = [[], ""];
    } else cell += char;
  }
  row.push(cell.trim());
  if (rows.length <= limit && row.some(Boolean)) rows.push(row);
  const [header, ...rest] = rows;
  return header && header.length > 0 ? { delimiter, header, rows: rest.slice(0, limit) } : null;
}

/** The start of a file as text: UTF-8, UTF-16 by its mark, else the old Windows encoding that spreadsheets still write. */
export async function startOf(file: File, bytes = 262_144): Promise<string> {
  const buffer = new Uint8Array(await file.slice(0, bytes).arrayBuffer());
  if (buffer[0] === 0xff && buffer[1] === 0xfe) return new TextDecoder("utf-16le").decode(buffer);
  if (buffer[0] === 0xfe && buffer[1] === 0xff) return new TextDecoder("utf-16be").decode(buffer);
  try {
    // The slice may end inside of a character; `stream` does not mind.
    return new TextDecoder("utf-8", { fatal: true }).decode(buffer, { stream: true });
  } catch {
    return new TextDecoder("windows-1252").decode(buffer);
  }
}

const guesses: [RegExp, string][] = [
  [/^(phone|mobile|cell|tel|whatsapp|celular|telefone|tel[eé]fono|m[oó]vil|handy|msisdn)/i, "phone"],
  [/^(first.?name|nome.?pr[oó]prio|primeiro.?nome|vorname|pr[eé]nom)/i, "first_name"],
  [/^(last.?name|surname|sobrenome|apellidos?|nachname)/i, "last_name"],
  [/^(full.?name|name|nome|nombre)$/i, "name"],
  [/^(external.?id|customer.?id|id)$/i, "external_id"],
  [/^(language|idioma|lang|locale)$/i, "language"],
  [/^(time.?zone|timezone|fuso|zona.?horaria)/i, "time_zone"],
  [/^(tags?|labels?|etiquetas?|groups?)$/i, "tags"],
  [/^(consent|opt.?in|consentimento|consentimiento|newsletter)$/i, "consent"],
  [/^(opt.?out|unsubscribed)$/i, "opt_out"],
];

export const guess = (header: string): string => guesses.find(([pattern]) => pattern.test(header.trim()))?.[1] ?? `attributes.${header.trim()}`;

export function download(name: string, rows: string[][]): void {
  // A cell that begins like a formula is one to a spreadsheet.
  const safe = (cell: string) => `"${(/^[=+\-@\t]/.test(cell) && !/^\+\d+$/.test(cell) ? `'${cell}` : cell).replaceAll('"', '""')}"`;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\uFEFF", rows.map((row) => row.map(safe).join(",")).join("\r\n")], { type: "text/csv" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
