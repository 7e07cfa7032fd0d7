// Where the row of each attack is written down.

import { appendFileSync } from "node:fs";
import path from "node:path";
import { OUT } from "../lib/stack.js";
import { without } from "./defences.js";

/** A line of JSON for each attack. */
export const TABLE = path.join(OUT, "hostile.jsonl");

/** An attack on a target without one of its defences is not written down. */
export const write = (row) => without || appendFileSync(TABLE, `${JSON.stringify(row)}\n`);
