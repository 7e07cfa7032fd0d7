import { publish, TridentError } from "trident-client";
import { BASE } from "./base.js";
import { explain } from "./reason.js";
import { inEveryLanguage, say } from "./text.js";

interface Draft {
  token: string;
  channel: string;
  event: string;
  data: unknown;
}

/** What the form holds. Data that is no JSON is a text. */
function read(form: HTMLFormElement): Draft {
  const field = (name: string): string => (form.elements.namedItem(name) as HTMLInputElement).value;
  let data: unknown = field("data");
  try {
    data = JSON.parse(field("data"));
  } catch {
    // A text.
  }
  return { token: field("token").trim(), channel: field("channel"), event: field("event"), data };
}

/** As a POSIX shell takes it for one word. */
const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** The command that does the same. The token stays where it is typed in: the command asks for it, and no history of a shell has it. */
function curl({ token, channel, event, data }: Draft): string {
  const url = new URL("events", BASE);
  url.searchParams.set("channel", channel);
  if (event) url.searchParams.set("event", event);
  // One list, which a shell reads to its end before the first of it reads what is typed next. Known to bash and zsh alike.
  const ask = token ? "printf 'Token: '; read -rs TOKEN && " : "";
  const lines = [`${ask}curl ${quote(url.href)}`];
  if (token) lines.push('-H "Authorization: Bearer $TOKEN"');
  lines.push("-H 'Content-Type: application/json'", `-d ${quote(JSON.stringify(data))}`);
  return lines.join(" \\\n  ");
}

/** Lets the form publish, and shows the command for it. */
export function publishForm(form: HTMLFormElement, command: HTMLElement, told: HTMLOutputElement): void {
  const show = (): void => {
    command.textContent = curl(read(form));
  };
  form.addEventListener("input", show);
  // What came of it, said again when the language changes.
  let outcome = (): string => "";
  const tell = (): void => {
    told.textContent = outcome();
  };
  inEveryLanguage(tell);
  form.addEventListener("submit", async (submission) => {
    submission.preventDefault();
    const { token, channel, event, data } = read(form);
    try {
      const id = await publish({ channel, data, event: event || undefined }, { url: BASE, token, attempts: 2 });
      outcome = () => say("published", { id });
      told.classList.remove("bad");
    } catch (error) {
      outcome = () => (error instanceof TridentError ? explain(error) : String(error));
      told.classList.add("bad");
    }
    tell();
  });
  show();
}
