/** The channels whose names begin with a text. */
import { ask } from "./api.js";
import { element, part } from "./dom.js";
import { byName, count, size, time, timeOf } from "./format.js";
import { attempt } from "./problem.js";
import { Pages } from "./pages.js";
import { Table } from "./table.js";
import type { Channel, Channels } from "./types.js";
import type { View } from "./view.js";

/** A link to a channel. */
export function channelLink(name: string): HTMLElement {
  const link = element("a", name, "mono") as HTMLAnchorElement;
  link.href = `#channel/${encodeURIComponent(name)}`;
  return link;
}

const readersOf = ({ readers }: Channel): number => Object.values(readers).reduce((a, b) => a + b, 0);

export class ChannelList implements View {
  readonly section = part("channels");
  readonly every = 5_000;
  #table = new Table<Channel>(part("channels-table"), [
    { title: "channel", make: ({ name }) => channelLink(name) },
    { title: "readers", text: (channel) => (readersOf(channel) > 0 ? `${count(readersOf(channel))} (${byName(channel.readers)})` : "0") },
    { title: "messages", text: ({ messages }) => count(messages) },
    { title: "bytes", text: ({ bytes }) => size(bytes) },
    { title: "newest.at", text: ({ newest }) => (newest ? time(timeOf(newest)) : "–") },
  ], ({ name }) => name, "channels.none");
  #pages = new Pages<Channel>(
    async (after, limit) => {
      const { channels, next, incomplete = [] } = await ask<Channels>("GET", "channels", { prefix: this.#prefix.value.trim(), after, limit });
      return { rows: channels, next, incomplete };
    },
    (rows) => this.#table.show(rows),
    part("channels-more"),
    part("channels-incomplete"),
  );
  #prefix = part<HTMLInputElement>("prefix");

  constructor() {
    part("channels-search").addEventListener("submit", (submission) => {
      submission.preventDefault();
      this.#pages.clear();
      void attempt(() => this.refresh());
    });
    part("channels-more").addEventListener("click", () => void attempt(() => this.#pages.extend()));
  }

  refresh(): Promise<void> {
    return this.#pages.refresh();
  }
}
