/** The playground: three panes on one channel, a chart of how they do, a form to publish, and the chat. */
import { Chart } from "./chart.js";
import { Chat } from "./chat.js";
import { askTime } from "./clock.js";
import { Pane } from "./pane.js";
import { publishForm } from "./publish.js";
import { currentLanguage, inEveryLanguage, otherLanguage, say, translate } from "./text.js";
import "./style.css";

const part = <Kind extends HTMLElement>(id: string): Kind => document.getElementById(id) as Kind;

translate(document);
inEveryLanguage(() => {
  document.documentElement.lang = currentLanguage();
  document.title = say("title");
  part("language").textContent = say("language");
  part("language").lang = currentLanguage() === "en" ? "zh-CN" : "en";
});
part("language").addEventListener("click", otherLanguage);

// A link may bring a token along, behind the `#` that no server is sent. It is of no concern to whoever sees the address later.
const token = part<HTMLInputElement>("token");
const brought = new URLSearchParams(location.hash.slice(1)).get("token");
if (brought) {
  token.value = brought;
  history.replaceState(history.state, "", location.pathname + location.search);
}
// What is no token could not even be sent.
const tokenGiven = (): string | undefined => (token.validity.valid && token.value.trim()) || undefined;

const chart = new Chart(part("chart"), part("chart-summary"), ["comet", "chat", "sse"]);
const panes = [
  new Pane({ id: "comet", name: "Comet", transport: "stream", watch: chart.watch("comet"), token: tokenGiven }),
  new Pane({ id: "chat", name: "Socket.IO", transport: "websocket", watch: chart.watch("chat"), token: tokenGiven }),
  new Pane({ id: "sse", name: "SSE", transport: "sse", watch: chart.watch("sse"), token: tokenGiven }),
];
part("panes").append(...panes.map((pane) => pane.element));

const channel = part<HTMLInputElement>("channel");
channel.value = new URLSearchParams(location.search).get("channel") ?? channel.value;
const listen = (): void => panes.forEach((pane) => pane.listen(channel.value));
part("choose").addEventListener("submit", (submission) => {
  submission.preventDefault();
  part<HTMLInputElement>("to").value = channel.value;
  part("publish").dispatchEvent(new Event("input"));
  history.replaceState(null, "", `?channel=${channel.value}`);
  listen();
});
part<HTMLInputElement>("to").value = channel.value;
publishForm(part("publish"), part("curl"), part("published"));
void askTime();
listen();
new Chat(part("talk-card"));
