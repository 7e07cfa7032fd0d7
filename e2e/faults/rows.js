// Where the account of each fault is written down.

import { appendFileSync } from "node:fs";
import path from "node:path";
import { OUT } from "../lib/stack.js";

/** A line of JSON for each fault. */
export const TABLE = path.join(OUT, "faults.jsonl");

export const write = (row) => appendFileSync(TABLE, `${JSON.stringify(row)}\n`);
