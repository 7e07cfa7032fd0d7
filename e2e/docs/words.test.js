// The wording that docs/GLOSSARY.md replaces is used nowhere that people read first: documentation, comments of operational files, pages,
// `--help`, log lines and errors.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { ROOT } from "../lib/stack.js";
import { SOURCES, find, replacedWords } from "./words.js";

/** Uses that are allowed: the source, the words, the text around them, and the reason. An entry that is not used any more fails. */
const ALLOWED = [
  { in: "nginx.conf", word: "held", text: "limit_conn held", reason: "the name of a zone" },
  { in: "nginx.conf", word: "held", text: "# held concurrent connections", reason: "the name of a zone" },
  { in: "chat-svc/page/chat-text.js", word: "away", text: "While you were away", reason: "it is a person who was away" },
];

describe("wording", () => {
  const words = replacedWords(readFileSync(path.join(ROOT, "docs/GLOSSARY.md"), "utf8"));

  test("the glossary lists the wording that it replaces", () => {
    assert.ok(words.length > 50, words.join("; "));
    for (const word of words) assert.match(word, /^[a-z_', ]+$/, "lower case, separated by semicolons");
  });

  test("wording is found across line ends, in any case, as whole words, with its line", () => {
    const text = "It is\ncome\nback. Outcome backs.\nTOLD you";
    assert.deepEqual(find(text, ["come back", "told"]).map(({ word, line }) => [word, line]), [["come back", 2], ["told", 4]]);
  });

  const unused = new Set(ALLOWED);
  for (const [name, texts] of Object.entries(SOURCES)) {
    test(name, () => {
      const found = [];
      for (const [file, text] of texts()) {
        for (const { word, line, around } of find(text, words)) {
          const allowed = ALLOWED.find((entry) => entry.in === file && entry.word === word && around.includes(entry.text));
          if (allowed) unused.delete(allowed);
          else found.push(`${file}:${line}: "${word}" in: ${around}`);
        }
      }
      if (found.length > 0) assert.fail(`docs/GLOSSARY.md has the words to use instead:\n${found.join("\n")}`);
    });
  }

  test("every exception is needed", () => assert.deepEqual([...unused], []));
});
