// The page of openapi.json: its paths, parameters, responses and schemas as tables. Texts of the description are only set as texts, so
// they cannot become part of the page.

import { addWords, inEveryLanguage, say, setText, startPage } from "./page.js";

addWords({
  en: {
    title: "HTTP API · Trident",
    skip: "To the paths",
    heading: "HTTP API",
    programs: "For programs:",
    paths: "Paths",
    tokens: "Tokens",
    schemas: "Schemas",
    parameters: "Parameters",
    body: "Body",
    responses: "Responses",
    name: "Name",
    kind: "Type",
    meaning: "Meaning",
    status: "Status",
    content: "Body and headers",
    any: "any JSON",
    or: " or ",
    list: "list of ",
    range: ", {from} to {to}",
    characters: ", {from} to {to} characters",
    default: ", default ",
    optional: ", optional",
    "access.open": "Public channels need no token; others do.",
    "access.token": "Takes a token.",
    failed: "The description could not be loaded: {why}",
    answered: "the server answered {status}.",
    about: "",
  },
  zh: {
    title: "HTTP 接口 · Trident",
    skip: "跳到路径",
    heading: "HTTP 接口",
    programs: "供程序使用：",
    paths: "路径",
    tokens: "令牌",
    schemas: "数据结构",
    parameters: "参数",
    body: "请求体",
    responses: "响应",
    name: "名称",
    kind: "类型",
    meaning: "含义",
    status: "状态码",
    content: "响应体与响应头",
    any: "任意 JSON",
    or: " 或 ",
    list: "列表，元素为 ",
    range: "，{from} 到 {to}",
    characters: "，{from} 到 {to} 个字符",
    default: "，默认 ",
    optional: "，可省略",
    "access.open": "公开频道无需令牌，其他频道需要。",
    "access.token": "接受令牌。",
    failed: "无法加载接口描述：{why}",
    answered: "服务器返回 {status}。",
    about: "以下说明文字来自 openapi.json，为英文。",
  },
});

const METHODS = ["get", "post", "put", "patch", "delete", "head", "options"];

/** An element with attributes and children; texts are children too. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(key, value);
  made.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== ""));
  return made;
}

/** A text with `code` in it. */
function prose(text = "") {
  return text.split(/`([^`]*)`/).map((part, at) => (at % 2 ? element("code", {}, part) : part));
}

/** The texts of the description are English in every language of the page. */
const english = (text) => element("span", { lang: "en" }, prose(text));
const paragraphs = (text = "") => text.split(/\n\n+/).filter(Boolean).map((part) => element("p", { lang: "en" }, prose(part)));
const nameOf = (reference) => reference.split("/").pop();

/** The type of a value, in a few words, with links to schemas. */
function kind(schema) {
  if (!schema || Object.keys(schema).length === 0) return [say("any")];
  if (schema.$ref) return [element("a", { href: `#schema-${nameOf(schema.$ref)}` }, nameOf(schema.$ref))];
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) {
    return choices.filter((one) => one.type !== "null").flatMap((one, at) => (at ? [say("or"), ...kind(one)] : kind(one)));
  }
  const types = [schema.type ?? say("any")].flat().filter((type) => type !== "null");
  if (types.includes("array")) return [say("list"), ...kind(schema.items)];
  const parts = [types.join(say("or"))];
  if (schema.enum) parts.push(": ", ...schema.enum.flatMap((one, at) => [at ? ", " : "", element("code", {}, String(one))]));
  const { minimum, maximum, minLength, maxLength } = schema;
  if (maximum !== undefined) parts.push(say("range", { from: minimum ?? 0, to: maximum }));
  if (maxLength !== undefined) parts.push(say("characters", { from: minLength ?? 0, to: maxLength }));
  if (schema.default !== undefined) parts.push(say("default"), element("code", {}, String(schema.default)));
  return parts;
}

const heads = (...words) => words.map((word) => say(word));

/** A table, whose name begins with what it belongs to. */
function table(subject, heads, rows) {
  if (rows.length === 0) return "";
  const head = element("tr", {}, heads.map((text) => element("th", { scope: "col" }, text)));
  return element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": `${subject}: ${heads.join(", ")}` },
    element("table", {}, element("thead", {}, head), element("tbody", {}, rows)));
}

function row(name, ...cells) {
  return element("tr", {}, element("th", { scope: "row" }, element("code", {}, name)), cells.map((cell) => element("td", {}, cell)));
}

/** Whether a token is needed. */
function access(operation) {
  if (!operation.security?.length) return "";
  const open = operation.security.some((one) => Object.keys(one).length === 0);
  return element("p", { class: "soft" }, say(open ? "access.open" : "access.token"));
}

function contents(content = {}) {
  return Object.entries(content).flatMap(([type, { schema, example }]) => [
    element("p", {}, element("code", {}, type), " ", element("span", { class: "kind" }, kind(schema))),
    example === undefined ? "" : element("pre", { tabindex: "0" }, element("code", {}, typeof example === "string" ? example : JSON.stringify(example, null, 2))),
  ]);
}

function answer([status, response]) {
  const headers = Object.entries(response.headers ?? {}).map(([name, header]) =>
    element("p", {}, element("code", {}, name), " ", element("span", { class: "kind" }, english(header.description))));
  return row(status, english(response.description), [...contents(response.content), ...headers]);
}

function operation(path, method, said) {
  const id = `${method}-${path.replaceAll("/", "")}`;
  const subject = `${method.toUpperCase()} ${path}`;
  const parameters = (said.parameters ?? []).map((one) =>
    row(one.name, element("span", { class: "kind" }, one.in, ", ", kind(one.schema)), english(one.description)));
  return element("article", { class: "operation card", id, "aria-labelledby": `${id}-title` },
    element("h2", { id: `${id}-title` },
      element("span", { class: "method", "data-method": method.toUpperCase() }, method.toUpperCase()),
      element("code", {}, path), said.summary ? english(said.summary) : ""),
    paragraphs(said.description), access(said),
    parameters.length ? element("h3", {}, say("parameters")) : "", table(subject, heads("name", "kind", "meaning"), parameters),
    said.requestBody ? [element("h3", {}, say("body")), paragraphs(said.requestBody.description), contents(said.requestBody.content)] : "",
    element("h3", {}, say("responses")), table(subject, heads("status", "meaning", "content"), Object.entries(said.responses).map(answer)));
}

function schema([name, said]) {
  const required = new Set(said.required);
  const rows = Object.entries(said.properties ?? {}).map(([property, one]) =>
    row(property, element("span", { class: "kind" }, kind(one), required.has(property) ? "" : say("optional")), english(one.description)));
  return element("article", { class: "schema card", id: `schema-${name}`, "aria-labelledby": `title-${name}` },
    element("h3", { id: `title-${name}` }, name), paragraphs(said.description),
    rows.length ? table(name, heads("name", "kind", "meaning"), rows) : element("p", { class: "kind" }, kind(said)));
}

const at = (id) => document.getElementById(id);

/** Shows the description, in place of what was shown in the other language. */
function show({ info, paths, components = {} }) {
  at("about").replaceChildren(...paragraphs(say("about")), ...paragraphs(info.description));
  const operations = Object.entries(paths).flatMap(([path, item]) => METHODS.filter((one) => item[one]).map((method) => ({ path, method, said: item[method] })));
  at("paths").replaceChildren(...operations.map(({ path, method, said }) => operation(path, method, said)));
  const first = operations.filter(({ path }, index) => operations.findIndex((one) => one.path === path) === index);
  at("contents").replaceChildren(...first.map(({ path, method }) =>
    element("li", {}, element("a", { href: `#${method}-${path.replaceAll("/", "")}` }, element("code", {}, path)))));
  const { securitySchemes = {}, schemas = {} } = components;
  at("schemes").replaceChildren(...Object.entries(securitySchemes).flatMap(([name, scheme]) => [
    element("dt", {}, name === "cookie" ? `Cookie ${scheme.name}` : "Authorization: Bearer …"),
    element("dd", {}, english(scheme.description)),
  ]));
  at("schemas").replaceChildren(...Object.entries(schemas).map(schema));
  at("access").hidden = at("bodies").hidden = false;
}

startPage();
const unreachable = new Error();
try {
  const answer = await fetch("openapi.json").catch(() => { throw unreachable; });
  if (!answer.ok) throw new Error(say("answered", { status: answer.status }));
  const description = await answer.json();
  inEveryLanguage(() => show(description));
  // The place that the address names did not exist when the browser looked for it.
  if (location.hash) at(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
} catch (error) {
  setText(at("state"), () => say("failed", { why: error === unreachable ? say("unreachable.once") : error.message }));
}
