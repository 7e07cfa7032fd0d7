// Prints what the tests have written down as the table of docs/HOSTILE.md; with `--write`, puts it there.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { ROOT } from "../lib/stack.js";
import { TABLE } from "./rows.js";

const COLUMNS = [
  ["attack", ({ attack }) => attack],
  ["target", ({ kind }) => kind],
  ["attempt", ({ tried }) => tried],
  ["result", ({ got }) => got],
  ["memory", ({ memory }) => `+${(memory / 1_048_576).toFixed(1)} MiB`],
  ["good clients' p50 / p99", ({ during }) => `${during.p50} / ${during.p99} ms`],
  ["the same without the attack", ({ quiet }) => `${quiet.p50} / ${quiet.p99} ms`],
];

const rows = existsSync(TABLE) ? readFileSync(TABLE, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line)) : [];
const line = (cells) => `| ${cells.join(" | ")} |`;
const escaped = (text) => String(text).replaceAll("|", "\\|");
const table = [
  line(COLUMNS.map(([title]) => title)),
  line(COLUMNS.map((_, at) => (at < 4 ? "---" : "---:"))),
  ...rows.map((row) => line(COLUMNS.map(([, value]) => escaped(value(row))))),
].join("\n");
console.log(table);

if (process.argv.includes("--write")) {
  const file = path.join(ROOT, "docs/HOSTILE.md");
  const [before, rest] = readFileSync(file, "utf8").split("<!-- table -->\n");
  const [, after] = rest.split("<!-- end of table -->");
  writeFileSync(file, `${before}<!-- table -->\n${table}\n<!-- end of table -->${after}`);
}
