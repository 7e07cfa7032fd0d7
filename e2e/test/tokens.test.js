// Tokens by public keys, at every door of a running process: who holds a key gets in, and everything that only looks like it does not.

import assert from "node:assert/strict";
import { createHmac, generateKeyPairSync, sign } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { chatClient, leaveAll } from "../lib/chat.js";
import { ask } from "../lib/http.js";
import { startService } from "../lib/stack.js";
import { soon } from "../lib/wait.js";

const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
const now = () => Math.floor(Date.now() / 1_000);
const KEYS = {
  RS256: generateKeyPairSync("rsa", { modulusLength: 2_048 }),
  ES256: generateKeyPairSync("ec", { namedCurve: "P-256" }),
  EdDSA: generateKeyPairSync("ed25519"),
};
const STRANGER = generateKeyPairSync("ec", { namedCurve: "P-256" });
const NEXT = generateKeyPairSync("ec", { namedCurve: "P-256" });
const pem = ({ publicKey }) => publicKey.export({ type: "spki", format: "pem" });
const claims = (changes = {}) => ({ exp: now() + 600, aud: "push", trident: { publish: ["*"], subscribe: ["*"] }, ...changes });

/** A token signed as its header says, with `pair`. */
function signed(alg, pair, { header = {}, body = claims() } = {}) {
  const text = `${part({ alg, typ: "JWT", ...header })}.${part(body)}`;
  const hash = alg === "EdDSA" ? null : "sha256";
  return `${text}.${sign(hash, Buffer.from(text), { key: pair.privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
}

/** The same, but the public key is taken for a secret. */
function confused(pair) {
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims())}`;
  return `${text}.${createHmac("sha256", pem(pair)).update(text).digest("base64url")}`;
}

const FAULTS = {
  "a public key taken for a secret": () => confused(KEYS.RS256),
  "one of another kind taken for a secret": () => confused(KEYS.ES256),
  "no signature asked for": () => `${part({ alg: "none", typ: "JWT" })}.${part(claims())}.`,
  "a signature left out": () => `${signed("ES256", KEYS.ES256).split(".").slice(0, 2).join(".")}.`,
  "an end that has passed": () => signed("ES256", KEYS.ES256, { body: claims({ exp: now() - 60 }) }),
  "a beginning that is to come": () => signed("ES256", KEYS.ES256, { body: claims({ nbf: now() + 300 }) }),
  "no end at all": () => signed("ES256", KEYS.ES256, { body: claims({ exp: undefined }) }),
  "another audience": () => signed("RS256", KEYS.RS256, { body: claims({ aud: ["mail", "files"] }) }),
  "no audience": () => signed("RS256", KEYS.RS256, { body: claims({ aud: undefined }) }),
  "a stranger's key": () => signed("ES256", STRANGER),
  "a stranger's key under a name of ours": () => signed("ES256", STRANGER, { header: { kid: "a" } }),
  "a stranger's key that comes along": () => signed("ES256", STRANGER, { header: { jwk: STRANGER.publicKey.export({ format: "jwk" }) } }),
  "our key under the name of another": () => signed("ES256", KEYS.ES256, { header: { kid: "next" } }),
  "a header that must be understood": () => signed("ES256", KEYS.ES256, { header: { crit: ["x"], x: 1 } }),
};

describe("tokens by public keys", () => {
  let folder;
  let service;
  before(async () => {
    folder = mkdtempSync(path.join(tmpdir(), "trident-keys-"));
    const file = (name, pair) => {
      writeFileSync(path.join(folder, name), pem(pair));
      return path.join(folder, name);
    };
    const files = [file("rsa", KEYS.RS256), `a=${file("a", KEYS.ES256)}`, file("ed", KEYS.EdDSA), `next=${file("next", NEXT)}`];
    service = await startService("standalone", { TRIDENT_SECRET: "", TRIDENT_JWT_PUBLIC_KEY_FILE: files.join(), TRIDENT_JWT_AUDIENCE: "push" });
  });
  after(async () => {
    leaveAll();
    await service?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** What each door says to a token: `201`, `200`, `200` and `ok` where it holds. */
  async function doors(token) {
    const headers = { Authorization: `Bearer ${token}` };
    const published = await ask(`${service.base}/events?channel=private`, { method: "POST", headers: { ...headers, "Content-Type": "text/plain" }, body: "x" });
    const polled = await ask(`${service.base}/data?channel=private&mode=poll`, { headers });
    const head = await ask(`${service.base}/events?channel=private`, { method: "HEAD", headers });
    const client = chatClient(service.base, { auth: { token }, reconnection: false });
    const socket = await soon("Socket.IO's answer", new Promise((resolve) => {
      client.socket.once("connect", () => resolve("ok"));
      client.socket.once("connect_error", (error) => resolve(error.data?.code ?? error.message));
      client.socket.connect();
    }));
    client.close();
    if (published.status === 401) {
      assert.match(published.headers["www-authenticate"], /^Bearer/);
      assert.equal(published.json().error.code, "bad_token");
    }
    return [published.status, polled.status, head.status, socket];
  }

  test("each kind of key works on every transport", async () => {
    for (const [alg, pair] of Object.entries(KEYS)) assert.deepEqual(await doors(signed(alg, pair)), [201, 200, 200, "ok"], alg);
    assert.deepEqual(await doors(signed("ES256", KEYS.ES256, { body: claims({ aud: ["mail", "push"] }) })), [201, 200, 200, "ok"]);
  });

  test("during a key rotation both keys verify, with and without a key id", async () => {
    for (const [pair, kid] of [[KEYS.ES256, "a"], [NEXT, "next"], [KEYS.ES256, undefined], [NEXT, undefined], [NEXT, "a name that nobody knows"]]) {
      assert.deepEqual(await doors(signed("ES256", pair, { header: { kid } })), [201, 200, 200, "ok"], String(kid));
    }
  });

  for (const [fault, make] of Object.entries(FAULTS)) {
    test(`refused: ${fault}`, async () => {
      assert.deepEqual(await doors(make()), [401, 401, 401, "bad_token"]);
    });
  }

  test("a token permits the channels that it names, and no others", async () => {
    const body = claims({ trident: { publish: ["news*"], subscribe: ["news"] } });
    assert.deepEqual((await doors(signed("EdDSA", KEYS.EdDSA, { body }))).slice(0, 3), [403, 403, 403]);
  });
});
