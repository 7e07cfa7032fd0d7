// The documentation of the version that runs: the server has the pages of `docs/` as they are in its repository, and this script shows
// them. It knows the part of Markdown that they use. Texts are only ever set as texts.

import { addWords, inEveryLanguage, say, setText, startPage } from "./page.js";

const PAGES = ["TUTORIAL", "PROTOCOL", "BACKEND", "OPERATIONS", "MIGRATING"];

addWords({
  en: {
    title: "Documentation · Trident",
    skip: "To the text",
    heading: "Documentation",
    "page.TUTORIAL": "Tutorial",
    "page.PROTOCOL": "Protocol",
    "page.BACKEND": "For backends",
    "page.OPERATIONS": "Operations",
    "page.MIGRATING": "Migrating",
    "about.TUTORIAL": "from the first message to an installation",
    "about.PROTOCOL": "routes, formats, errors",
    "about.BACKEND": "users, events, webhooks",
    "about.OPERATIONS": "settings, limits, upgrades",
    "about.MIGRATING": "from other servers",
    language: "",
    failed: "The page could not be loaded: {why}",
    answered: "the server answered {status}.",
  },
  zh: {
    title: "文档 · Trident",
    skip: "跳到正文",
    heading: "文档",
    "page.TUTORIAL": "教程",
    "page.PROTOCOL": "协议",
    "page.BACKEND": "应用后端",
    "page.OPERATIONS": "运维",
    "page.MIGRATING": "迁移",
    "about.TUTORIAL": "从第一条消息到完整安装",
    "about.PROTOCOL": "路由、格式、错误",
    "about.BACKEND": "用户、事件、webhook",
    "about.OPERATIONS": "设置、限制、升级",
    "about.MIGRATING": "从其他服务器迁移",
    language: "以下文档只有英文版。",
    failed: "无法加载页面：{why}",
    answered: "服务器返回 {status}。",
  },
});

const at = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.flat());
  return made;
}

// ---- Markdown ----

/** The anchor of a heading, as code hosts make it. */
const anchor = (text) => text.toLowerCase().replaceAll(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-");

/** A link to a page that is shown here, or to a place in it. What is elsewhere in the repository stays a text. */
function link(text, target) {
  const [, page, place = ""] = /^([^#]*)(#.*)?$/.exec(target);
  const name = page.replace(/\.md$/, "");
  if (page === "" || PAGES.includes(name)) return element("a", { href: page === "" ? place : `docs?page=${name}${place}` }, text);
  if (page === "openapi.json") return element("a", { href: "api" }, text);
  if (/^https?:/.test(target)) return element("a", { href: target }, text);
  return element("span", {}, text);
}

function inline(text) {
  const parts = [];
  const pattern = /(`+)(.+?)\1|\[([^\]]+)\]\(([^)\s]+)\)|\*\*(.+?)\*\*|\*([^*\s][^*]*)\*|<(https?:[^>]+)>/g;
  let from = 0;
  for (const match of text.matchAll(pattern)) {
    const [whole, , code, title, target, strong, emphasis, address] = match;
    parts.push(text.slice(from, match.index));
    from = match.index + whole.length;
    if (code !== undefined) parts.push(element("code", {}, code.trim()));
    else if (title !== undefined) parts.push(link(inline(title), target));
    else if (address !== undefined) parts.push(element("code", {}, address));
    else if (strong !== undefined) parts.push(element("strong", {}, inline(strong)));
    else parts.push(element("em", {}, inline(emphasis)));
  }
  return [...parts, text.slice(from)].filter((part) => part !== "");
}

const cells = (line) => line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => inline(cell.trim().replaceAll("\\|", "|")));

/** A table, named by the heading that it is below. */
function table(lines, name) {
  const [head, , ...rows] = lines.map(cells);
  const row = (kind) => (all) => element("tr", {}, all.map((cell) => element(kind, kind === "th" ? { scope: "col" } : {}, cell)));
  const heads = head.some((cell) => cell.length > 0) ? [element("thead", {}, row("th")(head))] : [];
  return element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": name },
    element("table", {}, heads, element("tbody", {}, rows.map(row("td")))));
}

const ITEM = /^(?:-|\d+\.) +/;
const BLOCK = /^(?:#{1,6} |```|\||(?:-|\d+\.) +)/;

/** The elements for a page. Takes the lines one block at a time. */
function render(text) {
  const lines = text.split("\n");
  const made = [];
  /** The lines from the next one on for which `is` holds. */
  const run = (is) => {
    const end = lines.findIndex((line, index) => index > 0 && !is(line));
    return lines.splice(0, end < 0 ? lines.length : end);
  };
  while (lines.length > 0) {
    const [line] = lines;
    const heading = /^(#{1,6}) (.*)$/.exec(line);
    if (line.trim() === "") {
      lines.shift();
    } else if (heading) {
      lines.shift();
      const parts = inline(heading[2]);
      const title = element(`h${heading[1].length}`, {}, parts);
      title.id = anchor(title.textContent);
      made.push(title);
    } else if (line.startsWith("```")) {
      const code = run((next) => !next.startsWith("```")).slice(1);
      lines.shift();
      made.push(element("pre", { tabindex: "0" }, element("code", {}, code.join("\n"))));
    } else if (line.startsWith("|")) {
      made.push(table(run((next) => next.startsWith("|")), made.findLast(({ tagName }) => /^H\d$/.test(tagName))?.textContent ?? say("heading")));
    } else if (ITEM.test(line)) {
      const items = run((next) => ITEM.test(next) || /^\s+\S/.test(next));
      const texts = items.join("\n").split(/\n(?=(?:-|\d+\.) )/).map((item) => item.replace(ITEM, "").replaceAll(/\n\s*/g, " "));
      made.push(element(line.startsWith("-") ? "ul" : "ol", {}, texts.map((item) => element("li", {}, inline(item)))));
    } else {
      made.push(element("p", {}, inline(run((next) => next.trim() !== "" && !BLOCK.test(next)).join(" "))));
    }
  }
  return made;
}

// ---- the page ----

const asked = new URLSearchParams(location.search).get("page");
const page = PAGES.includes(asked) ? asked : PAGES[0];

startPage();
inEveryLanguage(() => {
  at("pages").replaceChildren(...PAGES.map((name) => element("li", {},
    element("a", { href: `docs?page=${name}`, ...(name === page && { "aria-current": "page" }) }, say(`page.${name}`), element("small", {}, say(`about.${name}`))))));
  at("remark").textContent = say("language");
  at("text").lang = "en";
});
const unreachable = new Error();
try {
  const answer = await fetch(`docs/${page}.md`).catch(() => { throw unreachable; });
  if (!answer.ok) throw new Error(say("answered", { status: answer.status }));
  at("text").replaceChildren(...render(await answer.text()));
  at("text").hidden = false;
  if (location.hash) at(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
} catch (error) {
  setText(at("state"), () => say("failed", { why: error === unreachable ? say("unreachable.once") : error.message }));
}
