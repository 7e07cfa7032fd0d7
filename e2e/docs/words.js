// What people read first, as text without code, and the search for wording in it.

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { ROOT, binary } from "../lib/stack.js";

/** The last column of the glossary's tables. */
export const replacedWords = (glossary) =>
  [...glossary.matchAll(/^\|[^|\n]*\|[^|\n]*\|[^|\n]*\|([^|\n]*)\|$/gm)]
    .map(([, cell]) => cell.trim())
    .filter((cell) => cell !== "instead of" && !/^-+$/.test(cell))
    .flatMap((cell) => cell.split(";"))
    .map((word) => word.trim())
    .filter(Boolean);

/** Each use of one of the words: the word, its line, and the text around it. */
export function find(text, words) {
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}_])(${words.map((word) => word.replaceAll(" ", "\\s+")).join("|")})(?![\\p{L}\\p{N}_])`, "giu");
  return [...text.matchAll(pattern)].map(({ 0: match, index }) => ({
    word: match.toLowerCase().replace(/\s+/g, " "),
    line: text.slice(0, index).split("\n").length,
    around: text.slice(Math.max(0, index - 40), index + match.length + 40).replace(/\s+/g, " ").trim(),
  }));
}

/** A text with everything but line ends removed, so that lines keep their numbers. */
const blank = (text) => text.replace(/[^\n]/g, " ");

/** Markdown without code. */
const prose = (text) => text.replace(/^\s*```[^]*?^\s*```\s*$/gm, blank).replace(/`[^`\n]*`/g, blank).replace(/\]\([^)\s]*\)/g, blank);

/** Only the matches of a pattern, at their places. */
const only = (pattern) => (text) => {
  let kept = "";
  let end = 0;
  for (const { 0: match, index } of text.matchAll(pattern)) {
    kept += blank(text.slice(end, index)) + match;
    end = index + match.length;
  }
  return kept + blank(text.slice(end));
};

/** Files of the project by git's patterns, each as `[name, text]`. */
function* files(patterns, extract, { except = [] } = {}) {
  const names = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", ...patterns], { cwd: ROOT, encoding: "utf8" });
  for (const name of names.split("\n").filter(Boolean)) {
    if (!except.includes(name) && existsSync(path.join(ROOT, name))) yield [name, extract(readFileSync(path.join(ROOT, name), "utf8"))];
  }
}

/** The text of HTML, and of the attributes that are shown. */
const shown = (text) =>
  text.replace(/<(script|style)\b[^]*?<\/\1>|<!--[^]*?-->/gi, blank).replace(/<[^>]*>/g, only(/\b(title|alt|placeholder|aria-label|content)="[^"]*"/g));

/** Of a program only the string literals that have a space, and so are text: `tokens` finds comments and literals. */
const literals = (tokens) => (code) =>
  only(/\u0001[^\u0001]*\u0002/g)(
    code.replace(tokens, (token) => (/^["'`]/.test(token) && token.includes(" ") ? `\u0001${token.slice(1, -1).replace(/\$\{[^}]*\}/g, blank)}\u0002` : blank(token))),
  );
const scriptTexts = literals(/\/\/.*|\/\*[^]*?\*\/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\[^]|[^`\\])*`/g);
const rustLiterals = literals(/\/\/.*|b?r(#+)"[^]*?"\1|'(?:\\.[^']*|[^\\'])'|"(?:\\[^]|[^"\\])*"/g);
/** Tests at the end of a file are left out. */
const rustTexts = (code) => rustLiterals(code.split(/^#\[cfg\(test\)\]/m)[0]);

/** What `--help` prints, of each command. */
function* help() {
  const commands = ["comet-svc", "chat-svc", "sse-svc", "streams-svc", "standalone"].concat(
    ["token", "check", "listen", "publish", "log", "log info", "log verify", "log repair", "log backup", "log import"].map((name) => `standalone ${name}`),
  );
  for (const command of commands) {
    const [name, ...rest] = command.split(" ");
    yield [`${command} --help`, execFileSync(binary(name), [...rest, "--help"], { encoding: "utf8" })];
  }
}

/** One row for each kind of text. To check more, add a row. */
export const SOURCES = {
  "documentation": () => files(["*.md"], prose, { except: ["docs/GLOSSARY.md"] }),
  "comments of operational files": () =>
    files(["Makefile", "Dockerfile", "docker-compose.yml", "*nginx.conf", "*front.conf", "*gateway.sh", "*rolling.sh", ".ci/*", "ops/**.yml", "ops/**.yaml", "ops/package/*"], only(/#.*$/gm)),
  "pages": function* () {
    yield* files([":(glob)web/*.html", ":(glob)web/*/*.html", ":(glob)*-svc/page/*.html"], shown);
    yield* files([":(glob)web/*.js", ":(glob)web/api/*.js", ":(glob)web/docs/*.js", ":(glob)web/playground/src/*.ts", ":(glob)web/admin/src/*.ts", ":(glob)*-svc/page/*.js"], scriptTexts);
  },
  "messages of the client library": () => files([":(glob)web/client/src/**/*.ts"], scriptTexts),
  "documentation of the client library": () =>
    files(["channel", "end", "message", "options", "publish", "react", "stream"].map((name) => `web/client/src/${name}.ts`), only(/\/\*\*[^]*?\*\//g)),
  "examples": () => files([":(glob)examples/**/*.js", ":(glob)examples/**/*.mjs"], scriptTexts),
  "--help": help,
  "log lines and errors": () => files(["*/src/**.rs", ":!*/tests/**", ":!*/tests.rs", ":!*/testing/**", ":!bench", ":!fuzz", ":!examples"], rustTexts),
};
