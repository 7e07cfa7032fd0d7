// The documentation as a folder of pages, for any static file server: `node build.js <folder>`.
//
// It has README in both languages, docs/, the decisions, and what else is at the top level. A link to one of these pages leads to it. What is
// elsewhere in the repository stays a text, since the site does not have it.

import { copyFileSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Marked } from "marked";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const read = (name) => readFileSync(path.join(ROOT, name), "utf8");
const markdownIn = (folder) => readdirSync(path.join(ROOT, folder)).filter((name) => name.endsWith(".md")).map((name) => path.join(folder, name));

/** The pages by the headings of the list beside them. */
const SECTIONS = {
  Trident: ["README.md", "README.zh-CN.md"],
  Use: ["docs/TUTORIAL.md", "docs/PROTOCOL.md", "docs/BACKEND.md", "docs/MIGRATING.md"],
  Operate: ["docs/OPERATIONS.md", "docs/SCALING.md", "SECURITY.md", "CHANGELOG.md"],
  Change: ["CONTRIBUTING.md", "docs/ARCHITECTURE.md", "docs/GLOSSARY.md", "docs/RELEASING.md"],
  Evidence: ["docs/CONFORMANCE.md", "docs/CASES.md", "docs/FAULTS.md", "docs/HOSTILE.md", "docs/FUZZING.md", "docs/SOAK.md", "docs/PERFORMANCE.md"],
  Decisions: markdownIn("docs/decisions").sort(),
};
const PAGES = Object.values(SECTIONS).flat();

/** Where a page is in the site. */
const addressOf = (page) => (page === "README.md" ? "index.html" : page.replace(/\.md$/, ".html"));
/** The anchor of a heading, as code hosts make it. */
const anchorOf = (heading) => heading.toLowerCase().replaceAll(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-");
const escape = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
const headingOf = (page) => /^# (.+)$/m.exec(read(page))[1].replaceAll("`", "");

/** From one file of the site to another. */
const route = (from, to) => path.relative(path.dirname(from), to);

/** The page as HTML. `files` gets the names of the pictures and other files that it shows or links to. */
function render(page, files) {
  const marked = new Marked({
    renderer: {
      heading({ tokens, depth, text }) {
        return `<h${depth} id="${escape(anchorOf(text))}">${this.parser.parseInline(tokens)}</h${depth}>\n`;
      },
      table(token) {
        const row = (cells, name) => `<tr>${cells.map(({ tokens }) => `<${name}>${this.parser.parseInline(tokens)}</${name}>`).join("")}</tr>\n`;
        const body = token.rows.map((cells) => row(cells, "td")).join("");
        return `<div class="scroll" tabindex="0"><table><thead>${row(token.header, "th")}</thead><tbody>${body}</tbody></table></div>\n`;
      },
      link({ href, tokens }) {
        const text = this.parser.parseInline(tokens);
        if (/^[a-z]+:/.test(href)) return `<a href="${escape(href)}">${text}</a>`;
        const [, name, place] = /^([^#]*)(#.*)?$/.exec(href);
        const target = name === "" ? page : path.join(path.dirname(page), name);
        if (PAGES.includes(target)) return `<a href="${route(addressOf(page), addressOf(target))}${place ?? ""}">${text}</a>`;
        if (/^docs\/.*\.(json|svg|png)$/.test(target)) return files.add(target) && `<a href="${route(addressOf(page), target)}">${text}</a>`;
        return text;
      },
      image({ href, text }) {
        const target = path.join(path.dirname(page), href);
        files.add(target);
        return `<img src="${route(addressOf(page), target)}" alt="${escape(text)}">`;
      },
    },
  });
  return marked.parse(read(page));
}

function navigation(page) {
  const item = (name) => {
    const text = name.startsWith("README") ? { "README.md": "English", "README.zh-CN.md": "中文" }[name] : headingOf(name);
    return `<li><a href="${route(addressOf(page), addressOf(name))}"${name === page ? ' aria-current="page"' : ""}>${escape(text)}</a></li>`;
  };
  const section = ([name, pages]) => `<details${pages.includes(page) || name !== "Decisions" ? " open" : ""}><summary>${name}</summary><ul>${pages.map(item).join("")}</ul></details>`;
  return Object.entries(SECTIONS).map(section).join("\n");
}

const frame = (page, text) => `<!doctype html>
<html lang="${page.includes(".zh-CN.") ? "zh-CN" : "en"}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escape(headingOf(page))} · Trident</title>
<link rel="stylesheet" href="${route(addressOf(page), "base.css")}">
<link rel="stylesheet" href="${route(addressOf(page), "docs.css")}">
</head>
<body>
<main class="page docs">
<nav class="side" aria-label="Documentation">
${navigation(page)}
</nav>
<article class="card prose">
${text}</article>
</main>
</body>
</html>
`;

/** Writes the site into `folder`. Returns its files. */
export function build(folder) {
  const files = new Set();
  const written = [];
  const write = (name, how) => {
    const to = path.join(folder, name);
    mkdirSync(path.dirname(to), { recursive: true });
    how(to);
    written.push(name);
  };
  for (const page of PAGES) write(addressOf(page), (to) => writeFileSync(to, frame(page, render(page, files))));
  for (const file of files) write(file, (to) => copyFileSync(path.join(ROOT, file), to));
  for (const [name, source] of [["base.css", "web/base.css"], ["docs.css", "web/docs/docs.css"]]) write(name, (to) => copyFileSync(path.join(ROOT, source), to));
  return written;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [folder] = process.argv.slice(2);
  if (!folder) {
    console.error("usage: node build.js <folder>");
    process.exit(2);
  }
  console.log(`${build(folder).length} files in ${folder}`);
}
