// The documentation, tried: every block of every page is run, or says here who runs it; every link leads somewhere; every
// setting exists.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { launch, tab } from "../lib/browser.js";
import { demos } from "../lib/demos.js";
import { ROOT, binary } from "../lib/stack.js";
import { SECRET } from "../lib/token.js";
import { until } from "../lib/wait.js";
import { anchorsOf, blocksOf, headingsOf, linksOf, settingsIn } from "./blocks.js";
import { Shell } from "./shell.js";

const PAGES = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "*.md"], { cwd: ROOT, encoding: "utf8" })
  .split("\n").filter((page) => page && existsSync(path.join(ROOT, page)));

/** A block that starts the server: the next one waits until it answers. */
const serves = async ({ shell, block }) => {
  await shell.run(block.text);
  await until("the server", async () => (await fetch(`${shell.base}/healthz`).catch(() => undefined))?.ok, { within: 20_000 });
};
/** A block that is run in the shell, whose output matches each of `wanted`. */
const says = (...wanted) => async ({ shell, block }) => {
  const said = await shell.run(block.text, wanted);
  for (const one of wanted) assert.match(said, one, block.text);
  if (!block.text.includes("error:")) assert.doesNotMatch(said, /\{"error"/, block.text);
};
const saved = async ({ shell, block }) => shell.save(block.saveAs, block.text);
/** JavaScript that is only read: it is of somebody else's server, or needs more than a line around it. */
const parses = async ({ block }) => execFileSync("node", ["--input-type=module", "--check"], { input: block.text });
/** The mapping of names of rooms, which has to be that of the client library. */
const mapsNames = async ({ block }) => {
  const { encodeChannel, decodeChannel } = await import("../../web/client/dist/index.js");
  const own = new Function(`${block.text}; return { encodeChannel, decodeChannel };`)();
  for (const name of ["order:17", "房间", "lobby", "a/b c", "~3A", "it's (100%)!*", "🌊"]) {
    assert.equal(own.encodeChannel(name), encodeChannel(name));
    assert.equal(own.decodeChannel(own.encodeChannel(name)), name);
    assert.equal(decodeChannel(own.encodeChannel(name)), name);
  }
};
const json = async ({ block }) => block.text.trim().split("\n").forEach((line) => JSON.parse(line));
/** One JSON document on several lines. */
const document = async ({ block }) => JSON.parse(block.text);
/** What is run by somebody else. */
const elsewhere = (who) => Object.assign(async () => {}, { who });

/** JavaScript in a page of the server: `show` is called at least `times` with something that `wanted` matches. */
const inPage = (times, wanted, prelude = "") => async ({ shell, block, browser }) => {
  const page = await tab(browser, { bypassCSP: true });
  await page.goto(`${shell.base}/`);
  await page.addScriptTag({ url: `${shell.base}/socket.io/socket.io.js` });
  await page.evaluate(`window.shown = []; window.show = (...what) => shown.push(JSON.stringify(what));`);
  // In one task: the block may wait for what the line before it begins.
  await page.evaluate(`(async () => {\n${prelude}\n${block.text}\n})()`);
  await page.waitForFunction(([times, source]) => shown.filter((one) => new RegExp(source).test(one)).length >= times, [times, wanted.source], { timeout: 15_000 });
  await page.context().close();
};

/** The page of the tutorial, served from another origin: all three ways, and a word in the chat. */
const opened = async ({ shell, block, browser }) => {
  await shell.run(shell.adapt(block.text));
  const url = shell.adapt("http://localhost:3000/demos.html");
  await until("the files", async () => (await fetch(url).catch(() => undefined))?.ok);
  const page = await tab(browser);
  await page.goto(url);
  await page.locator("#number", { hasText: /^\d+\.\d$/ }).waitFor();
  await page.locator("#clock", { hasText: /^时间:\d+$/ }).waitFor();
  await page.locator("#text").fill("to myself");
  await page.locator("#text").press("Enter");
  await page.locator("#chat li", { hasText: "to myself" }).waitFor();
  assert.deepEqual(page.complaints.filter((one) => !one.includes("favicon")), []);
  await page.context().close();
};

/** The page of the tutorial with the client library, built and served: it shows what has been published. */
const built = async ({ shell, block, browser }) => {
  await shell.run(block.text);
  const page = await tab(browser);
  await page.goto(shell.adapt("http://localhost:3000/"));
  for (const text of ["Hello", "Hello from Python", "Hello from Node"]) await page.locator("#news li").getByText(text, { exact: true }).waitFor();
  assert.deepEqual(page.complaints.filter((one) => !one.includes("favicon")), []);
  await page.context().close();
};

/** The same, and then each demo is used in Chromium. */
const withDemos = (step) => async (context) => {
  await step(context);
  await demos(context.browser, context.shell.base);
};

const MINUTES = elsewhere("measures for minutes");
const ID = /\{"id":"\d+-\d+"\}/;

/** What becomes of the blocks of each page, in their order. Pages without any are not named. */
const PLANS = {
  "README.md": [
    serves,
    withDemos(says(/"code":[\d.]+/, /^data: 时间:\d+$/m)),
    inPage(2, /./),
    says(ID),
    says(/^http:\/\/localhost:\d+\/\?channel=public\.news#token=ey/m),
    says(/data: \{"headline":"Hello"\}/, /"messages":\[\{.*"headline":"Hello"/),
    inPage(1, /headline.*\d+-\d+/, "const socket = window.socket = io();"),
    says(),
    says(),
    says(),
  ],
  "README.zh-CN.md": "README.md",
  "docs/TUTORIAL.md": [
    serves,
    says(/"code":[\d.]+/, /^data: 时间:\d+$/m),
    says(),
    saved,
    opened,
    says(ID),
    says(/^\d+-\d+$/m),
    says(/from Node/),
    saved,
    says(/public\.news \{ headline: 'Hello from Node' \}/),
    says(),
    saved,
    saved,
    built,
    says(/Hello from Python/, /\d+-\d+/),
    says(/^event: gap$/m),
    says(/"token_needed"/),
    says(/"state":"paid"/),
    saved,
    says(/1 in tea: \[ 'Mei' \]/, /tea Mei: Who takes milk\?/),
    says(/"channel":"chat\.tea"/),
    says(/TRIDENT_ORIGINS/),
    says(),
    says(),
    says(),
  ],
  "docs/MIGRATING.md": [
    mapsNames,
    parses,
    async ({ shell, block }) => shell.save("publish.mjs", block.text),
    parses,
    parses,
    parses,
    parses,
    parses,
    parses,
    says(/Hello/),
    elsewhere("needs a Mercure hub"),
    says(ID),
    inPage(0, /./),
    elsewhere("needs a server of Pusher's protocol"),
    says(ID),
    parses,
    inPage(1, /tea/),
    elsewhere("needs a Centrifugo server"),
    says(ID),
    parses,
    inPage(1, /ACME/),
  ],
  "docs/PROTOCOL.md": [json, parses, json, document, document, document, document, document, document, document, async ({ block }) => assert.equal(JSON.parse(block.text).error.code, "bad_cursor")],
  "CONTRIBUTING.md": "anything",
  "docs/OPERATIONS.md": "anything",
  "docs/SCALING.md": [MINUTES],
  "docs/CASES.md": "anything",
  "docs/FAULTS.md": "anything",
  "docs/HOSTILE.md": "anything",
  "docs/SOAK.md": "anything",
  "docs/FUZZING.md": [elsewhere("runs for minutes")],
  "docs/PERFORMANCE.md": "anything",
  "docs/BACKEND.md": [saved, serves, inPage(2, /"tea":2|"order":1/)],
  "examples/backend/README.md": [elsewhere("make e2e-examples")],
  "examples/publish/README.md": [elsewhere("make e2e-examples")],
  "examples/run/README.md": [elsewhere("make e2e-examples")],
  "shared/README.md": [elsewhere("make test")],
  "socketio/README.md": "anything",
  "web/client/README.md": "parsed",
};

/** Pages in which other tests hold each block: their blocks are named by how they begin. */
const ELSEWHERE = [
  [/^make /, "a target of the Makefile"],
  [/^cargo build /, "make test, of every crate"],
  [/trident-bench/, "measures for minutes"],
  [/docker compose|rolling\.sh/, "make e2e-compose"],
  [/^# \/etc\/systemd/, "systemd"],
  [/^# \/etc\/trident\/trident\.toml/, "edge/src/settings/file.rs"],
  [/^\[dependencies\]\nactix-web/, "socketio/Cargo.toml"],
  [/^use actix_web::\{App, HttpServer\}/, "make test, as an example of the crate socketio"],
  [/^const socket = io\("http:\/\/localhost:3000"\)/, "e2e/socketio"],
  [/^location \/push\//, "e2e/client/prefix.test.js"],
  [/^standalone (listen|publish)/, "standalone/tests"],
  [/^npm install \.\.\/trident\/web\/client/, "web/client/test/package.test.js"],
  [/^import \{ useMessages \}/, "web/client/test/react.test.js"],
];
const isElsewhere = ({ text }) => ELSEWHERE.some(([start]) => start.test(text));

describe("documentation", () => {
  let browser;
  before(async () => {
    browser = await launch();
  });
  after(() => browser?.close());

  for (const page of PAGES) {
    const blocks = blocksOf(page);
    const plan = PLANS[page];
    if (blocks.length === 0) {
      test(`${page} has no blocks, and no plan`, () => assert.equal(plan, undefined));
    } else if (plan === "anything") {
      test(`${page}: each block has a test`, () => {
        for (const block of blocks) assert.ok(isElsewhere(block), `${page}:${block.line}: who runs this?\n${block.text}`);
        for (const [, target] of blocks.map(({ text }) => text).join("\n").matchAll(/^make ([a-z0-9-]+)/gm)) {
          assert.match(readFileSync(path.join(ROOT, "Makefile"), "utf8"), new RegExp(`^([a-z0-9-]+ )*${target}( [a-z0-9-]+)*:( |$)`, "m"), `make ${target}`);
        }
      });
    } else if (plan === "parsed") {
      test(`${page}: each block can be read`, async () => {
        for (const block of blocks.filter((block) => !isElsewhere(block))) await (block.language === "js" ? parses({ block }) : assert.fail(`${page}:${block.line}: who runs this?`));
      });
    } else if (typeof plan === "string") {
      test(`${page} has the blocks and the headings of ${plan}`, () => {
        const bare = (of) => blocksOf(of).map(({ language, text }) => [language, text.replace(/(^|\s+)(#|\/\/) .*$/gm, "$1")]);
        assert.deepEqual(bare(page), bare(plan));
        assert.deepEqual(headingsOf(page), headingsOf(plan));
        assert.deepEqual(linksOf(page).toSorted(), linksOf(plan).map((link) => (link === page ? plan : link)).toSorted());
      });
    } else {
      test(`${page}: each block has the documented effect`, { timeout: 300_000 }, async () => {
        assert.ok(plan, `nobody runs the blocks of ${page}: give it a plan`);
        assert.equal(blocks.length, plan.length, `${page} has ${blocks.length} blocks: ${blocks.map(({ line, text }) => `${line}: ${text.split("\n")[0]}`).join("; ")}`);
        if (plan.every(({ who }) => who)) return;
        const shell = await Shell.open();
        try {
          if (page === "docs/BACKEND.md") await shell.run('export PATH="$PWD/target/release:$PATH"\n');
          if (page === "docs/MIGRATING.md") {
            await shell.run(`export PATH="$PWD/target/release:$PATH" TRIDENT_URL=http://localhost:8080 TRIDENT_SECRET=${SECRET}\nexport TRIDENT_TOKEN=$(standalone token --publish '*')\n`);
            await serves({ shell, block: { text: "standalone &\n" } });
            await shell.run(`curl "$TRIDENT_URL/events?channel=public.news" -H "Authorization: Bearer $TRIDENT_TOKEN" -d Hello -H 'Content-Type: text/plain'\n`);
          }
          for (const [at, step] of plan.entries()) {
            const block = { ...blocks[at], text: shell.adapt(blocks[at].text) };
            try {
              await step({ shell, block, browser });
            } catch (error) {
              throw new Error(`${page}:${block.line}: ${error.message}`, { cause: error });
            }
          }
        } finally {
          await shell.close();
        }
      });
    }

    test(`${page}: links lead somewhere, settings exist`, () => {
      for (const link of linksOf(page)) {
        const [file, anchor] = link.split("#");
        const target = path.normalize(path.join(path.dirname(page), file || path.basename(page)));
        assert.ok(existsSync(path.join(ROOT, target)), `${page}: ${link}`);
        if (anchor) assert.ok(anchorsOf(target).includes(anchor), `${page}: ${link}`);
      }
      const known = execFileSync(binary("standalone"), ["--help"], { encoding: "utf8" }).replace(/\s+/g, " ");
      const compose = readFileSync(path.join(ROOT, "docker-compose.yml"), "utf8");
      for (const name of settingsIn(page)) {
        assert.ok(known.includes(`env: ${name}]`) || compose.includes(`\${${name}`) || OTHERS.some((other) => other.test(name)), `${page}: ${name} is no setting`);
      }
    });
  }
});

/** Variables that are no settings of a service. */
const OTHERS = [/^TRIDENT_(HISTORY|PUBLIC|SEED|URL|TOKEN|E2E_PROFILE|KILLS)$/];
