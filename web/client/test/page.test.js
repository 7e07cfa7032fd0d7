import assert from "node:assert/strict";
import { test } from "node:test";
import { watchPage } from "../dist/page.js";

test("a page that is frozen has no connection, and resumes", (t) => {
  const told = [];
  const events = Object.fromEntries(["hide", "show", "offline", "online", "awake"].map((name) => [name, () => told.push(name)]));
  globalThis.document = new EventTarget();
  t.after(() => delete globalThis.document);
  const end = watchPage(events);
  for (const type of ["freeze", "resume", "visibilitychange"]) document.dispatchEvent(new Event(type));
  end();
  document.dispatchEvent(new Event("freeze"));
  assert.deepEqual(told, ["hide", "show", "awake"]);
});
