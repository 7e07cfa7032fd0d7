// Takes each defence out, one after the other, and runs the attack that it is there for: the attack's test has to fail, or
// it would prove nothing. `node hostile/without.js [part of a name]`; ends with 1 if an attack failed anyway.

import { spawnSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { DEFENCES } from "./defences.js";

const HERE = path.dirname(fileURLToPath(import.meta.url));

/** The file that declares an attack, `<name>: <target>`. */
function fileOf(attack) {
  const [name] = attack.split(": ");
  const found = readdirSync(HERE).filter((file) => file.endsWith(".test.js") && readFileSync(path.join(HERE, file), "utf8").includes(`attack("${name}"`));
  if (found.length !== 1) throw new Error(`${name} should be declared once`);
  return path.join(HERE, found[0]);
}

/** Whether the test of an attack failed with a defence taken out, and what it said. */
function attackWithout(attack, defence) {
  const { stdout } = spawnSync(process.execPath, ["--test", "--test-reporter=tap", `--test-name-pattern=/^${attack}$/`, fileOf(attack)], {
    env: { ...process.env, TRIDENT_WITHOUT: defence },
    encoding: "utf8",
    maxBuffer: 64 * 1_048_576,
  });
  const result = stdout.split("\n").find((line) => new RegExp(`^ *(not ok|ok) \\d+ - ${attack}$`).test(line))?.trim();
  if (!result) throw new Error(`${attack} did not run:\n${stdout}`);
  const rest = stdout.slice(stdout.indexOf(result));
  // Of a list that should have been empty, its first line says most.
  const [, said] = /^ *\+ {3}(.*?),?$/m.exec(rest) ?? /error: (?:\|-\s+)?(.*)/.exec(rest) ?? [];
  return { failed: result.startsWith("not ok"), said: said?.replaceAll(/^["']|["']$/g, "") };
}

const wanted = Object.entries(DEFENCES).filter(([name]) => name.includes(process.argv[2] ?? ""));
console.log("| without | attack | what its test reported |\n| --- | --- | --- |");
for (const [name, { attack }] of wanted) {
  const { failed, said } = attackWithout(attack, name);
  console.log(`| ${name} | ${attack} | ${failed ? said : "NOTHING: the attack failed anyway"} |`);
  if (!failed) process.exitCode = 1;
}
