// Node's server of the cluster. It does what its clients tell it to, as socketio-redis/examples/cluster.rs does.
//
//     PORT=3201 REDIS_URL=redis://127.0.0.1/ node support/node.js

import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const publisher = createClient({ url: process.env.REDIS_URL, socket: { reconnectStrategy: 50 } });
const subscriber = publisher.duplicate();
for (const client of [publisher, subscriber]) client.on("error", () => {});
await Promise.all([publisher.connect(), subscriber.connect()]);
const options = { requestsTimeout: 3_000, publishOnSpecificResponseChannel: Boolean(process.env.SPECIFIC_RESPONSES) };
const io = new Server({ adapter: createAdapter(publisher, subscriber, options), cors: { origin: "*" } });

function serve(namespace) {
  const among = ({ rooms = [], except = [], volatile = false, local = false } = {}) => {
    let chosen = namespace.to(rooms).except(except);
    if (volatile) chosen = chosen.volatile;
    if (local) chosen = chosen.local;
    return chosen;
  };
  for (const event of ["hello", "load"]) {
    namespace.on(event, (...args) => {
      const answer = typeof args.at(-1) === "function" ? args.pop() : undefined;
      namespace.local.emit("server event", event, args);
      if (event === "load") answer?.({ server: "node", asked: args });
    });
  }
  const told = (answer) => (error) => answer(error.message);
  namespace.on("connection", (socket) => {
    socket.data.on = "node";
    socket.on("join", (rooms, answer) => (socket.join(rooms), answer(true)));
    socket.on("rooms", (answer) => answer([...socket.rooms].filter((room) => room !== socket.id).sort()));
    socket.on("emit", (whom, event, args, answer) => answer(among(whom).emit(event, ...args)));
    socket.on("ask", (whom, args, answer) =>
      among(whom).timeout(2_000).emit("question", ...args, (error, answers) => answer([answers, error ? 1 : 0])));
    socket.on("fetch", (whom, answer) =>
      among(whom).fetchSockets().then((found) =>
        answer(found.map(({ id, rooms, data, handshake }) => ({ id, rooms: [...rooms], data, issued: handshake.issued > 0 }))), told(answer)));
    socket.on("sockets join", (whom, rooms, answer) => (among(whom).socketsJoin(rooms), answer(true)));
    socket.on("sockets leave", (whom, rooms, answer) => (among(whom).socketsLeave(rooms), answer(true)));
    socket.on("disconnect sockets", (whom, close, answer) => (among(whom).disconnectSockets(close), answer(true)));
    socket.on("tell servers", (event, args, answer) => answer(namespace.serverSideEmit(event, ...args)));
    socket.on("ask servers", (event, args, answer) =>
      namespace.serverSideEmitWithAck(event, ...args).then(answer, told(answer)));
    socket.on("count", (answer) => namespace.adapter.serverCount().then(answer, told(answer)));
    socket.on("all rooms", (answer) => namespace.adapter.allRooms().then((rooms) => answer([...rooms].sort()), told(answer)));
  });
}

serve(io.of("/"));
serve(io.of("/chat"));
io.listen(Number(process.env.PORT));
