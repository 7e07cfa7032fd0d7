// Reads the channel in the address, as any page would, and writes down what happens to the connection.

import { connect } from "/dist/trident-client.min.js";
import { socketio } from "/dist/trident-client-socketio.min.js";

const query = new URLSearchParams(location.search);
const timing = Object.fromEntries(query.getAll("timing").map((pair) => pair.split(":")).map(([name, value]) => [name, Number(value)]));
const show = (id, text) => {
  document.getElementById(id).textContent = text;
};

window.ids = [];
window.gaps = [];
window.connection = connect({
  channels: query.getAll("channel"),
  since: query.get("since") ?? undefined,
  ...(query.has("plain") ? { transports: ["sse", "stream", "longpoll"] } : { websocket: socketio(window.io) }),
  timing,
});
connection.on("state", ({ phase, transport, message, retryIn }) => {
  show("state", `${phase} ${transport}`);
  const line = document.createElement("li");
  line.textContent = `${phase} ${transport}${retryIn ? `, again in ${Math.round(retryIn)} ms` : ""}${message ? ` (${message})` : ""}`;
  document.getElementById("log").append(line);
});
connection.on("gap", (gap) => window.gaps.push(gap));
connection.on("message", ({ id }) => {
  window.ids.push(id);
  show("count", window.ids.length);
});
