// The page of openapi.json: what there is of paths, parameters, answers and schemas, as tables. Texts of the description are
// only ever set as texts, so nothing in it can become a part of the page.

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

const paragraphs = (text = "") => text.split(/\n\n+/).filter(Boolean).map((part) => element("p", {}, prose(part)));
const nameOf = (reference) => reference.split("/").pop();

/** What a value is, in a few words, with links to schemas. */
function kind(schema) {
  if (!schema || Object.keys(schema).length === 0) return ["any JSON"];
  if (schema.$ref) return [element("a", { href: `#schema-${nameOf(schema.$ref)}` }, nameOf(schema.$ref))];
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) {
    return choices.filter((one) => one.type !== "null").flatMap((one, at) => (at ? [" or ", ...kind(one)] : kind(one)));
  }
  const types = [schema.type ?? "any JSON"].flat().filter((type) => type !== "null");
  if (types.includes("array")) return ["list of ", ...kind(schema.items)];
  const parts = [types.join(" or ")];
  if (schema.enum) parts.push(": ", ...schema.enum.flatMap((one, at) => [at ? ", " : "", element("code", {}, String(one))]));
  const { minimum, maximum, minLength, maxLength } = schema;
  if (maximum !== undefined) parts.push(`, ${minimum ?? 0} to ${maximum}`);
  if (maxLength !== undefined) parts.push(`, ${minLength ?? 0} to ${maxLength} characters`);
  if (schema.default !== undefined) parts.push(", default ", element("code", {}, String(schema.default)));
  return parts;
}

function table(heads, rows) {
  if (rows.length === 0) return "";
  const head = element("tr", {}, heads.map((text) => element("th", { scope: "col" }, text)));
  return element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": heads.join(", ") },
    element("table", {}, element("thead", {}, head), element("tbody", {}, rows)));
}

function row(name, ...cells) {
  return element("tr", {}, element("th", { scope: "row" }, element("code", {}, name)), cells.map((cell) => element("td", {}, cell)));
}

/** Where a token is needed, where it opens more, and where it says nothing. */
function access(operation) {
  if (!operation.security?.length) return "";
  const open = operation.security.some((one) => Object.keys(one).length === 0);
  return element("p", { class: "soft" }, open ? "Public channels without a token, others with one." : "Takes a token.");
}

function contents(content = {}) {
  return Object.entries(content).flatMap(([type, { schema, example }]) => [
    element("p", {}, element("code", {}, type), " ", element("span", { class: "kind" }, kind(schema))),
    example === undefined ? "" : element("pre", { tabindex: "0" }, element("code", {}, typeof example === "string" ? example : JSON.stringify(example, null, 2))),
  ]);
}

function answer([status, response]) {
  const headers = Object.entries(response.headers ?? {}).map(([name, header]) =>
    element("p", {}, element("code", {}, name), " ", element("span", { class: "kind" }, prose(header.description))));
  return row(status, prose(response.description), [...contents(response.content), ...headers]);
}

function operation(path, method, said) {
  const id = `${method}-${path.replaceAll("/", "")}`;
  const parameters = (said.parameters ?? []).map((one) =>
    row(one.name, element("span", { class: "kind" }, one.in, ", ", kind(one.schema)), prose(one.description)));
  return element("article", { class: "operation card", id, "aria-labelledby": `${id}-title` },
    element("h2", { id: `${id}-title` },
      element("span", { class: "method", "data-method": method.toUpperCase() }, method.toUpperCase()),
      element("code", {}, path), said.summary ?? ""),
    paragraphs(said.description), access(said),
    parameters.length ? element("h3", {}, "Parameters") : "", table(["Name", "Kind", "Meaning"], parameters),
    said.requestBody ? [element("h3", {}, "Body"), paragraphs(said.requestBody.description), contents(said.requestBody.content)] : "",
    element("h3", {}, "Answers"), table(["Status", "Meaning", "Body and headers"], Object.entries(said.responses).map(answer)));
}

function schema([name, said]) {
  const required = new Set(said.required);
  const rows = Object.entries(said.properties ?? {}).map(([property, one]) =>
    row(property, element("span", { class: "kind" }, kind(one), required.has(property) ? "" : ", may be left out"), prose(one.description)));
  return element("article", { class: "schema card", id: `schema-${name}`, "aria-labelledby": `title-${name}` },
    element("h3", { id: `title-${name}` }, name), paragraphs(said.description),
    rows.length ? table(["Name", "Kind", "Meaning"], rows) : element("p", { class: "kind" }, kind(said)));
}

function show(said) {
  const at = (id) => document.getElementById(id);
  at("about").append(...paragraphs(said.info.description));
  for (const [path, item] of Object.entries(said.paths)) {
    for (const method of METHODS.filter((one) => item[one])) at("paths").append(operation(path, method, item[method]));
    const first = METHODS.find((one) => item[one]);
    at("contents").append(element("li", {}, element("a", { href: `#${first}-${path.replaceAll("/", "")}` }, path)));
  }
  const { securitySchemes = {}, schemas = {} } = said.components ?? {};
  at("schemes").append(...Object.entries(securitySchemes).flatMap(([name, scheme]) => [
    element("dt", {}, name === "cookie" ? `Cookie ${scheme.name}` : "Authorization: Bearer …"),
    element("dd", {}, prose(scheme.description)),
  ]));
  at("schemas").append(...Object.entries(schemas).map(schema));
  at("access").hidden = at("bodies").hidden = false;
  // The place that the address names was not there when the browser looked for it.
  if (location.hash) at(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

const state = document.getElementById("state");
try {
  const answered = await fetch("openapi.json");
  if (!answered.ok) throw new Error(`the server answered ${answered.status}`);
  show(await answered.json());
} catch (error) {
  state.textContent = `The description could not be read: ${error.message}`;
}
