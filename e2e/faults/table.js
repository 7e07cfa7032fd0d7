// Prints what the tests have written down as the table of docs/FAULTS.md.

import { existsSync, readFileSync } from "node:fs";
import { TABLE } from "./rows.js";

const COLUMNS = [
  ["fault", (row) => row.fault],
  ["published", (row) => row.published],
  ["acknowledged", (row) => row.acknowledged],
  ["delivered", (row) => row.delivered],
  ["lost", (row) => row.lost],
  ["repeated", (row) => row.repeated],
  ["dropped, gap reported", (row) => row.excused],
  ["gaps reported", (row) => row.gaps],
  ["longest silence, ms: SSE", (row) => row.silence.sse],
  ["comet", (row) => row.silence.comet],
  ["/ws", (row) => row.silence.ws],
  ["Socket.IO", (row) => row.silence["socket.io"]],
];

const rows = existsSync(TABLE) ? readFileSync(TABLE, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line)) : [];
const figure = (value) => (typeof value === "number" ? value.toLocaleString("en") : value);
const line = (cells) => `| ${cells.join(" | ")} |`;
console.log(line(COLUMNS.map(([title]) => title)));
console.log(line(COLUMNS.map((_, at) => (at === 0 ? "---" : "---:"))));
for (const row of rows) console.log(line(COLUMNS.map(([, value]) => figure(value(row)))));
