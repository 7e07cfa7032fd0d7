// The fenced blocks of a page, the links in it, and the places that links can lead to.

import { readFileSync } from "node:fs";
import path from "node:path";
import { ROOT } from "../lib/stack.js";

const read = (page) => readFileSync(path.join(ROOT, page), "utf8");

/** Blocks whose language is named: `{language, text, line, saveAs}`; `saveAs` is what the words before it ask to save it as. */
export function blocksOf(page) {
  const found = [];
  let open;
  const lines = read(page).split("\n");
  lines.forEach((line, at) => {
    // A language, and what Rust is to do with it.
    const fence = /^\s*```(\w*)(?:,\w+)*\s*$/.exec(line);
    if (!fence) return void open?.lines.push(line);
    if (open) {
      if (open.language) found.push({ language: open.language, text: `${open.lines.join("\n")}\n`, line: open.line, saveAs: open.saveAs });
      open = undefined;
    } else {
      const before = lines.slice(Math.max(0, at - 4), at).join(" ");
      open = { language: fence[1], lines: [], line: at + 2, saveAs: /Save this as\s+`([^`]+)`/.exec(before)?.[1] };
    }
  });
  if (open) throw new Error(`${page}: a block is not closed`);
  return found;
}

/** The page without its blocks and pieces of code. */
const prose = (page) => read(page).replace(/^\s*```[^]*?^\s*```\s*$/gm, "").replace(/`[^`\n]*`/g, "");

/** Where links and pictures of a page lead to, if to somewhere in the project. */
export function linksOf(page) {
  return [...prose(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link).filter((link) => !/^[a-z]+:/.test(link));
}

/** The anchors that headings of a page get. */
export function anchorsOf(page) {
  return [...read(page).replace(/^\s*```[^]*?^\s*```\s*$/gm, "").matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-"));
}

export const headingsOf = (page) => [...read(page).replace(/^```[^]*?^```$/gm, "").matchAll(/^(#+) /gm)].map(([, level]) => level);
export const settingsIn = (page) => [...new Set(read(page).match(/\bTRIDENT_[A-Z_]*[A-Z]\b/g) ?? [])];
