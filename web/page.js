// What all pages share: the language, the links of the header, and whether the server answers.
//
// A page adds its words with `addWords`, then calls `startPage`. Elements name their text by `data-text`, their accessible name by
// `data-label` and their placeholder by `data-hint`. The choice of language is stored for all pages of the origin.

const STORED = "trident-language";

const words = {
  en: {
    "nav.label": "Pages",
    "nav.playground": "Playground",
    "nav.api": "API",
    "nav.docs": "Docs",
    "nav.other": "中文",
    "nav.script": "This page needs JavaScript.",
    unreachable: "The server is unreachable. Trying again.",
    "unreachable.once": "The server is unreachable. Try again.",
    copy: "Copy",
    copied: "Copied",
    "copy.failed": "Press Ctrl+C",
  },
  zh: {
    "nav.label": "页面",
    "nav.playground": "演练场",
    "nav.api": "接口",
    "nav.docs": "文档",
    "nav.other": "English",
    "nav.script": "本页需要 JavaScript。",
    unreachable: "无法连接服务器，正在重试。",
    "unreachable.once": "无法连接服务器，请重试。",
    copy: "复制",
    copied: "已复制",
    "copy.failed": "请按 Ctrl+C",
  },
};

/** Storage may be forbidden; the page then works without. */
export const memory = {
  get: (key) => { try { return localStorage.getItem(key); } catch { return null; } },
  set: (key, value) => { try { localStorage.setItem(key, value); } catch { /* not stored */ } },
};

const isLanguage = (name) => name === "en" || name === "zh";
const chosen = () => [memory.get(STORED)].find(isLanguage);
let language = chosen() ?? (navigator.language.startsWith("zh") ? "zh" : "en");
const listeners = new Set();

/** Adds `{en: {name: text}, zh: {name: text}}`. */
export function addWords(added) {
  for (const name of ["en", "zh"]) Object.assign(words[name], added[name]);
}

/** The language of the page as BCP 47 has it: `en` or `zh-CN`. */
export const currentLanguage = () => (language === "zh" ? "zh-CN" : "en");

export const isWord = (name) => name in words.en;

/** A text, with each `{name}` filled in. */
export function say(word, values = {}) {
  return words[language][word].replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/** Values as nodes, separated by commas. Each is isolated, so that right-to-left names do not reorder the text around them. */
export function apart(values) {
  return [values].flat().flatMap((value, at) => {
    const node = document.createElement("bdi");
    node.textContent = String(value);
    return at === 0 ? [node] : [", ", node];
  });
}

/** The same as `say`, with each value, or each of a list, isolated: for values that somebody else chose. */
export function sayApart(word, values = {}) {
  return words[language][word].split(/\{(\w+)\}/).flatMap((part, at) => (at % 2 === 0 ? [part] : apart(values[part] ?? "")));
}

/** Shows a text, or texts and nodes. Unchanged text is left alone, so that screen readers do not repeat it. */
export function put(element, what) {
  const content = document.createDocumentFragment();
  content.append(...[what].flat());
  if (element.textContent !== content.textContent) element.replaceChildren(content);
}

/** Calls `show` now and whenever the language changes. */
export function inEveryLanguage(show) {
  listeners.add(show);
  show();
}

/** Sets what `put` shows, so that it stays right when the language changes. */
const texts = new Map();
export function setText(element, text) {
  texts.set(element, text);
  put(element, text());
}
listeners.add(() => {
  for (const [element, text] of texts) {
    if (element.isConnected) put(element, text());
    else texts.delete(element);
  }
});

function fill(root) {
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = say(element.dataset.text);
  for (const element of root.querySelectorAll("[data-label]")) element.setAttribute("aria-label", say(element.dataset.label));
  for (const element of root.querySelectorAll("[data-hint]")) element.placeholder = say(element.dataset.hint);
}

/** Fills in the elements below `root`, now and whenever the language changes. */
export function translate(root) {
  inEveryLanguage(() => fill(root));
}

function choose(name) {
  language = name;
  for (const show of listeners) show();
}

/** Translates the page and connects its switch of languages. The page's words have to include `title`. */
export function startPage() {
  translate(document);
  inEveryLanguage(() => {
    document.documentElement.lang = currentLanguage();
    document.title = say("title");
    const other = document.getElementById("language");
    other.textContent = say("nav.other");
    other.lang = language === "en" ? "zh-CN" : "en";
  });
  document.getElementById("language").addEventListener("click", () => {
    choose(language === "en" ? "zh" : "en");
    memory.set(STORED, language);
  });
  // Another tab has changed it.
  addEventListener("storage", ({ key }) => {
    if (key === STORED && chosen() && chosen() !== language) choose(chosen());
  });
  // A service by itself serves its page at `/`, and there the other pages do not exist.
  const isAlone = ["comet", "chat", "sse"].includes(document.body.dataset.page) && location.pathname.endsWith("/");
  if (isAlone) for (const item of document.querySelectorAll(".top nav li:not([data-everywhere])")) item.hidden = true;
}

/** Copies the text of `source` and says so on `button`. Without access to the clipboard it selects the text instead. */
export async function copy(source, button) {
  let outcome = "copied";
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    getSelection().selectAllChildren(source);
    outcome = "copy.failed";
  }
  setText(button, () => say(outcome));
  setTimeout(() => setText(button, () => say("copy")), 2_000);
}

/** Whether the server answers at `path`. What answers in its place, as a gateway with 502 to 504, does not count. */
export async function isReachable(path) {
  try {
    const { status } = await fetch(path, { method: "HEAD", cache: "no-store", signal: AbortSignal.timeout(3_000) });
    return ![502, 503, 504].includes(status);
  } catch {
    return false;
  }
}
