/** The processes, and how they have been in the last minutes. */
import { ask } from "./api.js";
import { Chart, SPAN } from "./chart.js";
import { part, showNote, showTiles } from "./dom.js";
import { age, byName, count, size, time } from "./format.js";
import { Recent } from "./recent.js";
import { Table } from "./table.js";
import { inEveryLanguage, say } from "./text.js";
import type { Process, Stats, Webhooks } from "./types.js";
import type { View } from "./view.js";

const MIB = 1024 * 1024;
const nameOf = ({ name, service }: Process): string => (name ? `${service} ${name}` : service);
const sum = (all: readonly Process[], of: (process: Process) => number): number => all.reduce((total, one) => total + of(one), 0);
const connectionsOf = (process: Process): number => Object.values(process.connections).reduce((a, b) => a + b, 0);

/** The counts of one reason. */
interface Refusal {
  reason: string;
  recent: number;
  total: number;
}

export class Overview implements View {
  readonly section = part("overview");
  readonly every = 2_000;
  #stats: Stats | undefined;
  #recent = new Recent(SPAN);
  #rates = new Chart(part("rates"), [{ word: "publishes", color: "comet" }, { word: "deliveries", color: "sse" }]);
  #memory = new Chart(part("memory"), [{ word: "memory", color: "chat" }]);
  #processes = new Table<Process>(part("processes"), [
    { title: "name", text: nameOf },
    {
      title: "health",
      text: ({ ready, bus }) => [say(ready ? "ready" : "not.ready"), ...bus.degraded].join(", "),
      state: ({ ready, bus }) => (!ready ? "down" : bus.degraded.length > 0 ? "wait" : "live"),
    },
    { title: "version", text: ({ version }) => version },
    { title: "up", text: ({ up_since }) => age(up_since) },
    { title: "bus", text: ({ bus }) => bus.kind },
    { title: "connections", text: ({ connections }) => byName(connections) },
    { title: "publishes", text: ({ rates }) => count(rates.publishes) },
    { title: "deliveries", text: ({ rates }) => count(rates.deliveries) },
    { title: "opened", text: ({ rates }) => count(rates.opened) },
    { title: "memory", text: ({ memory }) => (memory === undefined ? "–" : size(memory)) },
    { title: "log", text: ({ log }) => `${count(log.messages)} · ${size(log.bytes)}` },
  ], (process) => `${process.service} ${process.name ?? ""} ${process.up_since}`, "processes.none");
  #refusals = new Table<Refusal>(part("refusals"), [
    { title: "reason", text: ({ reason }) => reason },
    { title: "recent", text: ({ recent }) => count(recent) },
    { title: "total", text: ({ total }) => count(total) },
  ], ({ reason }) => reason, "refusals.none");
  #hooks = new Table<Process & { webhooks: Webhooks }>(part("hooks"), [
    { title: "name", text: nameOf },
    {
      title: "health",
      text: ({ webhooks }) => say(webhooks.failing ? "failing" : webhooks.sender ? "sends" : "stands.by"),
      state: ({ webhooks }) => (webhooks.failing ? "down" : webhooks.sender ? "live" : "idle"),
    },
    { title: "delivered", text: ({ webhooks }) => say("delivered.count", { batches: count(webhooks.batches), events: count(webhooks.events) }) },
    { title: "failures", text: ({ webhooks }) => count(webhooks.failures) },
    { title: "losses", text: ({ webhooks }) => count(webhooks.losses) },
    { title: "lag", text: ({ webhooks }) => say("seconds", { n: webhooks.lag_seconds }) },
    { title: "last.error", text: ({ webhooks: { last_error } }) => (last_error ? `${time(last_error.time)}: ${last_error.message}` : "–") },
  ], nameOf, "hooks.none");

  constructor() {
    inEveryLanguage(() => this.#show());
  }

  async refresh(): Promise<void> {
    const stats = await ask<Stats>("GET", "stats");
    this.#stats = stats;
    const { processes } = stats;
    this.#recent.add(processes.map((process) => ({ name: `${nameOf(process)} ${process.up_since}`, since: process.up_since, counts: process.refusals })));
    this.#rates.add([sum(processes, ({ rates }) => rates.publishes), sum(processes, ({ rates }) => rates.deliveries)]);
    this.#memory.add([sum(processes, ({ memory }) => memory ?? 0) / MIB]);
    this.#show();
  }

  #show(): void {
    if (!this.#stats) return;
    const { processes, incomplete = [] } = this.#stats;
    const publishes = sum(processes, ({ rates }) => rates.publishes);
    const deliveries = sum(processes, ({ rates }) => rates.deliveries);
    const memory = size(sum(processes, ({ memory }) => memory ?? 0));
    // With a bus, all processes have the same channels.
    const most = (of: (process: Process) => number): string => count(Math.max(0, ...processes.map(of)));
    showTiles(part("totals"), [
      [say("processes"), count(processes.length)],
      [say("connections"), count(sum(processes, connectionsOf))],
      [say("publishes"), count(publishes)],
      [say("deliveries"), count(deliveries)],
      [say("channels"), most(({ log }) => log.channels)],
      [say("stored"), most(({ log }) => log.messages)],
      [say("memory"), memory],
    ]);
    part("rates-summary").textContent = say("rates.summary", { publishes: count(publishes), deliveries: count(deliveries) });
    part("memory-summary").textContent = say("memory.summary", { memory });
    showNote(part("overview-incomplete"), incomplete.length > 0 ? say("incomplete", { names: incomplete.join(", ") }) : "");
    this.#processes.show(processes);
    this.#refusals.show(this.#recent.counts());
    this.#hooks.show(processes.filter((one): one is Process & { webhooks: Webhooks } => one.webhooks !== undefined));
  }
}
