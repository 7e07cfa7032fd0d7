/** Who is connected. */
import { ask } from "./api.js";
import { isConfirmed } from "./dialogs.js";
import { element, part } from "./dom.js";
import { age, count } from "./format.js";
import { Pages } from "./pages.js";
import { act, attempt } from "./problem.js";
import { Table } from "./table.js";
import { say } from "./text.js";
import type { Connection, Connections } from "./types.js";
import type { View } from "./view.js";

export class ConnectionList implements View {
  readonly section = part("connections");
  readonly every = 5_000;
  #user = part<HTMLInputElement>("by-user");
  #channel = part<HTMLInputElement>("by-channel");
  #table = new Table<Connection>(part("connections-table"), [
    { title: "user", text: ({ user }) => user ?? "–" },
    { title: "transport", text: ({ transport }) => transport },
    { title: "channels", text: ({ channels }) => channels.join(", ") || "–" },
    { title: "address", text: ({ address }) => address },
    { title: "age", text: ({ since }) => age(since) },
    { title: "behind", text: ({ lag }) => (lag === undefined ? "–" : count(lag)) },
    { title: "id", make: ({ id }) => element("span", id, "mono") },
    { title: "action", make: (connection) => this.#button(connection), className: "action" },
  ], ({ id }) => id, "connections.none");
  #pages = new Pages<Connection>(
    async (after, limit) => {
      const query = { user: this.#user.value, channel: this.#channel.value.trim(), after, limit };
      const { connections, next, incomplete = [] } = await ask<Connections>("GET", "connections", query);
      return { rows: connections, next, incomplete };
    },
    (rows) => this.#table.show(rows),
    part("connections-more"),
    part("connections-incomplete"),
  );

  constructor() {
    part("connections-search").addEventListener("submit", (submission) => {
      submission.preventDefault();
      this.#search();
    });
    part("connections-more").addEventListener("click", () => void attempt(() => this.#pages.extend()));
  }

  /** `#connections/<user>` shows those of a user. */
  open([user]: readonly string[]): void {
    if (user === undefined) return;
    [this.#user.value, this.#channel.value] = [user, ""];
    this.#pages.clear();
  }

  refresh(): Promise<void> {
    return this.#pages.refresh();
  }

  #search(): void {
    this.#pages.clear();
    void attempt(() => this.refresh());
  }

  #button({ id, user }: Connection): HTMLElement {
    const button = element("button", say("disconnect")) as HTMLButtonElement;
    button.type = "button";
    button.setAttribute("aria-label", say("disconnect.one", { id }));
    button.addEventListener("click", async () => {
      if (!(await isConfirmed(user === undefined ? "confirm.end" : "confirm.end.user", { id, user: user ?? "" }))) return;
      await act(part("connections-outcome"), async () => {
        const { ended } = await ask<{ ended: number }>("DELETE", `connections/${id}`);
        await this.refresh();
        return say("ended", { n: ended });
      });
    });
    return button;
  }
}
