// Which tests hold which case of docs/CASES.md. A test names its cases by number: `Case 4.1` or `Cases 9.5, 9.13 and 9.2`, in Rust in
// the doc comment above the test function, in JavaScript and Python in the test's name or the comment directly above it.

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

const MARKER = /\bcases?\s+((?:\d+\.\d+(?:\s*(?:,|and|to)\s*)*)+)/gi;

/** The case numbers that a text names, as strings such as "4.1"; "2.1 to 2.3" names all three. */
export function casesIn(text) {
  const found = [];
  for (const [, list] of text.matchAll(MARKER)) {
    const parts = list.match(/\d+\.\d+|to/g);
    parts.forEach((part, at) => {
      if (part !== "to") return found.push(part);
      const [group, from] = parts[at - 1].split(".").map(Number);
      const last = Number(parts[at + 1]?.split(".")[1] ?? from);
      for (let number = from + 1; number < last; number += 1) found.push(`${group}.${number}`);
    });
  }
  return [...new Set(found)];
}

/** The cases of docs/CASES.md in their order: `{ number, behaviour }`. */
export function readCases(root) {
  return [...readFileSync(path.join(root, "docs/CASES.md"), "utf8").matchAll(/^\| (\d+\.\d+) \| (.*) \|$/gm)]
    .map(([, number, behaviour]) => ({ number, behaviour }));
}

/** The cases that docs/CASES.md says have no test. */
export function casesWithoutTest(root) {
  const [, sentence] = /^Without a test so far: ([^]*?)\.\n\n/m.exec(readFileSync(path.join(root, "docs/CASES.md"), "utf8")) ?? [];
  return (sentence ?? "").match(/\b\d+\.\d+\b/g) ?? [];
}

/** Every test that names a case: `{ kind, file, name, cases }`, and for Rust the package and its cargo target. */
export function findTests(root) {
  const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "*.rs", "*.js", "*.py"], { cwd: root, encoding: "utf8" }).split("\n").filter(Boolean);
  return files.filter((file) => !file.startsWith("e2e/cases/") && existsSync(path.join(root, file))).flatMap((file) => {
    const text = readFileSync(path.join(root, file), "utf8");
    if (casesIn(text).length === 0) return [];
    if (file.endsWith(".rs")) return rustTests(root, file, text);
    return file.endsWith(".py") ? pythonTests(file, text) : scriptTests(file, text);
  });
}

/** The functions of which `publish_suite!` makes a test for each route, and where these tests are. */
const SUITE = { folder: "edge/src/testing/publishing/", tests: "comet-svc/tests/api/publishing.rs" };

/** Rust: the marker stands in the doc comment of a function that has a test attribute, or that is part of the suite of publishing. */
export function rustTests(root, file, text) {
  const pattern = /((?:^[ \t]*\/\/\/.*\n)+)((?:^[ \t]*#\[.*\n(?:^[ \t]+.*\)\]\n)?)*)^[ \t]*(?:pub )?(?:async )?fn (\w+)/gm;
  const isSuite = file.startsWith(SUITE.folder);
  const isTest = ([, , attributes]) => isSuite || /#\[(?:\w+::)*test\b/.test(attributes);
  return [...text.matchAll(pattern)].filter(isTest).flatMap(([, comment, , name]) => {
    const cases = casesIn(comment.replace(/^[ \t]*\/\/\/ ?/gm, ""));
    return cases.length ? [{ kind: "rust", file, name, cases, ...cargoTarget(root, isSuite ? SUITE.tests : file) }] : [];
  });
}

function pythonTests(file, text) {
  return [...text.matchAll(/def (test_\w+)\(.*\n(?:\s+"""(.*?)""")?/g)].flatMap(([whole, name]) => {
    const cases = casesIn(whole);
    return cases.length ? [{ kind: "python", file, name, cases }] : [];
  });
}

export function scriptTests(file, text) {
  const pattern = /((?:^[ \t]*\/\/.*\n)*)^[ \t]*(?:await )?(?:test|it|t\.test|attack)\(\s*(["'`])((?:\\.|(?!\2).)*)\2/gm;
  return [...text.matchAll(pattern)].flatMap(([, comment, , name]) => {
    const cases = casesIn(`${comment}\n${name}`);
    return cases.length ? [{ kind: "script", file, name, cases }] : [];
  });
}

/** The package of a Rust file, and the arguments that make cargo build only the target that the file belongs to. */
function cargoTarget(root, file) {
  let folder = path.dirname(file);
  while (!existsSync(path.join(root, folder, "Cargo.toml"))) folder = path.dirname(folder);
  const manifest = readFileSync(path.join(root, folder, "Cargo.toml"), "utf8");
  const name = /^name = "(.*)"/m.exec(manifest)[1];
  const [kind, target] = path.relative(folder, file).split(path.sep);
  if (kind === "tests") return { package: name, target: ["--test", target.replace(/\.rs$/, "")] };
  if (kind === "examples") return { package: name, target: ["--example", target.replace(/\.rs$/, "")] };
  const library = existsSync(path.join(root, folder, "src/lib.rs"));
  const binary = file === path.join(folder, "src/main.rs") || !library;
  return { package: name, target: binary ? ["--bins"] : ["--lib"] };
}
