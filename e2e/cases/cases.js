// Runs the tests that hold the cases of docs/CASES.md and prints a result for each case.
//
//   node cases/cases.js [--list] [NUMBER | GROUP]…

import { spawn, spawnSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { casesWithoutTest, findTests, readCases } from "./scan.js";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const BEGAN = performance.now();
const wanted = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const isWanted = (number) => wanted.length === 0 || wanted.some((one) => number === one || number.split(".")[0] === one);

const cases = readCases(ROOT).filter(({ number }) => isWanted(number));
const untested = new Set(casesWithoutTest(ROOT));
// What only a Docker engine can show is skipped where there is none.
const hasDocker = spawnSync("docker", ["info"], { stdio: "ignore" }).status === 0;
const tests = findTests(ROOT).filter((one) => one.cases.some(isWanted));
for (const one of tests) one.isSkipped = one.file.startsWith("e2e/compose/") && !hasDocker;

/** Prints that a group of tests has been run, from `began` on. */
function report(what, group, began) {
  const failed = group.filter((one) => !one.passed).length;
  const seconds = ((performance.now() - began) / 1_000).toFixed(0);
  console.log(`${failed ? `${failed} FAILED` : "ok"}  ${what} (${group.length} ${group.length === 1 ? "test" : "tests"}, ${seconds} s)`);
}

/** Runs a command and returns its output; its errors go to the terminal as they come. */
function run(command, args, folder) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: path.join(ROOT, folder), stdio: ["ignore", "pipe", "inherit"] });
    const parts = [];
    child.stdout.on("data", (part) => parts.push(part));
    child.on("error", reject);
    child.on("close", () => resolve(Buffer.concat(parts).toString()));
  });
}

const grouped = (items, key) => Object.values(Object.groupBy ? Object.groupBy(items, key) : items.reduce((all, item) => ({ ...all, [key(item)]: [...(all[key(item)] ?? []), item] }), {}));

/** One cargo run for each kind of target, built with the features of `make test`; the tests are picked by name. */
async function runRust(all) {
  for (const group of grouped(all, (one) => one.target.join(" "))) {
    const [[{ target }], began] = [group, performance.now()];
    const output = await run("cargo", ["test", "--quiet", "--workspace", "--features", "jemalloc", "--locked", "--no-fail-fast", ...target, "--", "--format=pretty", ...new Set(group.map((one) => one.name))], ".");
    for (const one of group) {
      const results = [...output.matchAll(new RegExp(`^test (?:\\S+::)?${one.name}(?: - should panic)? \\.\\.\\. (\\w+)`, "gm"))].map(([, result]) => result);
      one.passed = results.length > 0 && results.every((result) => result === "ok");
      if (!one.passed) one.output = output;
    }
    report(target.join(" "), group, began);
  }
}

/** One run for each file, of the tests whose names are wanted. */
async function runScripts(all) {
  for (const group of grouped(all, (one) => one.file)) {
    const [[{ file }], began] = [group, performance.now()];
    const pattern = group.map((one) => one.name.replaceAll("\\", "").split("${")[0].replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")).join("|");
    const output = await run("node", ["--test", "--test-reporter=tap", "--test-timeout=1800000", `--test-name-pattern=${pattern}`, path.basename(file)], path.dirname(file));
    const results = [...output.matchAll(/^\s*(not ok|ok) \d+ - (.*?)(?: # (SKIP|TODO).*)?$/gm)].filter(([, , , skipped]) => !skipped);
    for (const one of group) {
      const prefix = one.name.replaceAll("\\", "").split("${")[0];
      const own = results.filter(([, , name]) => name.replaceAll("\\", "").startsWith(prefix));
      one.passed = own.length > 0 && own.every(([, result]) => result === "ok");
      if (!one.passed) one.output = output;
    }
    report(file, group, began);
  }
}

async function runPython(all) {
  const interpreter = path.resolve(ROOT, process.env.CARGO_TARGET_DIR || "target", "e2e-python/bin/python");
  for (const one of all) {
    const began = performance.now();
    const output = await run("sh", ["-c", `"${interpreter}" -m unittest discover -v -s "$(dirname "$0")" -p "$(basename "$0")" -k "$1" 2>&1`, path.join(ROOT, one.file), one.name], ".");
    one.passed = /^OK$/m.test(output) && !/Ran 0 tests/.test(output);
    if (!one.passed) one.output = output;
    report(one.file, [one], began);
  }
}

const describe = ({ file, name }) => `${file}: ${name}`;

function resultOf(number, own, failed) {
  if (own.length === 0) return untested.has(number) ? "untested" : "NO TEST";
  if (failed.length > 0) return "FAILED";
  return own.every(({ isSkipped }) => isSkipped) ? "skipped" : "passed";
}

if (process.argv.includes("--list")) {
  for (const { number } of cases) {
    const own = tests.filter((one) => one.cases.includes(number));
    console.log(`${number.padEnd(6)}${own.length ? own.map(describe).join("\n      ") : "no test"}`);
  }
} else {
  const of = (wanted) => tests.filter(({ kind, isSkipped }) => kind === wanted && !isSkipped);
  await runRust(of("rust"));
  await runScripts(of("script"));
  await runPython(of("python"));
  const rows = cases.map(({ number, behaviour }) => {
    const own = tests.filter((one) => one.cases.includes(number));
    const failed = own.filter((one) => !one.passed && !one.isSkipped);
    return { number, behaviour, failed, result: resultOf(number, own, failed), count: own.length };
  });
  for (const output of new Set(tests.filter((one) => one.output).map((one) => one.output))) console.log(output);
  for (const { number, behaviour, result, count, failed } of rows) {
    console.log(`${number.padEnd(6)}${result.padEnd(9)}${behaviour} (${count} ${count === 1 ? "test" : "tests"})`);
    for (const one of failed) console.log(`        failed: ${describe(one)}`);
  }
  const passed = rows.filter(({ result }) => result === "passed").length;
  const skipped = rows.filter(({ result }) => ["untested", "skipped"].includes(result)).length;
  const failures = rows.length - passed - skipped;
  const minutes = ((performance.now() - BEGAN) / 60_000).toFixed(1);
  console.log(`\n${passed} passed, ${failures} failed, ${skipped} skipped or untested, in ${minutes} minutes`);
  process.exitCode = failures === 0 ? 0 : 1;
}
