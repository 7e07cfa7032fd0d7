/** The playground: a form to publish, a chat, three panes on one channel, and a chart of their latency. */
import { Chart } from "./chart.js";
import { Chat } from "./chat.js";
import { askTime } from "./clock.js";
import { Pane } from "./pane.js";
import { PublishForm } from "./publish.js";
import { startPage } from "./text.js";
import { claimsOf, pick } from "./token.js";
import "./style.css";

const part = <Kind extends HTMLElement>(id: string): Kind => document.getElementById(id) as Kind;

startPage();

// A link may bring a token, behind the `#` that browsers do not send. It then leaves the address, where others could see it.
const token = part<HTMLInputElement>("token");
const brought = new URLSearchParams(location.hash.slice(1)).get("token");
if (brought) {
  token.value = brought;
  history.replaceState(history.state, "", location.pathname + location.search);
}
// An invalid token could not even be sent.
const tokenGiven = (): string | undefined => (token.validity.valid && token.value.trim()) || undefined;

const chart = new Chart(part("chart"), part("chart-summary"), ["comet", "chat", "sse"]);
const panes = [
  new Pane({ id: "comet", name: "Comet", transport: "stream", watch: chart.watch("comet"), token: tokenGiven }),
  new Pane({ id: "chat", name: "Socket.IO", transport: "websocket", watch: chart.watch("chat"), token: tokenGiven }),
  new Pane({ id: "sse", name: "SSE", transport: "sse", watch: chart.watch("sse"), token: tokenGiven }),
];
part("panes").append(...panes.map((pane) => pane.element));

// The channel of the address; without one, a channel that the token allows to publish to, so that what is published is seen.
const channel = part<HTMLInputElement>("channel");
const demo = channel.value;
const allowed = pick(claimsOf(brought ?? "")?.publish ?? [], [demo]);
channel.value = new URLSearchParams(location.search).get("channel") ?? allowed ?? demo;

const listen = (name: string, start?: "earliest"): void => {
  channel.value = name;
  form.listens(name);
  history.replaceState(null, "", `?channel=${name}`);
  panes.forEach((pane) => pane.listen(name, start));
};
// From the form, with the message that was just published.
const form = new PublishForm(channel.value, (name) => listen(name, "earliest"));
part("choose").addEventListener("submit", (submission) => {
  submission.preventDefault();
  listen(channel.value);
});
void askTime();
panes.forEach((pane) => pane.listen(channel.value));
new Chat(part("talk-card"));
