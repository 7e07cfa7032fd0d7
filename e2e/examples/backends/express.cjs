// A backend in Express. `node express.cjs PORT`, where Express can be found: NODE_PATH.
const express = require("express");

const answered = new Map(); // By id: a repeated call gets the first answer.
const user = (call) => /(?:^|; )user=(\w+)/.exec(call.headers.cookie ?? "")?.[1];

function answer(call) {
  if (call.kind === "connect") return user(call) ? { user: user(call) } : { refuse: "log in first" };
  const [first] = call.args;
  switch (call.event) {
    case "echo":
      return { ack: call.args };
    case "enter":
      return { join: [first], ack: [{ ok: true }] };
    case "shout":
      return { emit: [{ to: { room: first }, event: "heard", args: call.args.slice(1) }], ack: [{ ok: true }] };
    default:
      return { ack: [{ ok: true, order: first, user: call.socket.user }] };
  }
}

const app = express();
app.post("/calls", express.json(), (request, response) => {
  const call = request.body;
  if (!answered.has(call.id)) answered.set(call.id, answer(call));
  response.json(answered.get(call.id));
});
app.listen(Number(process.argv[2]), "127.0.0.1");
