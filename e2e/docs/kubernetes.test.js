// ops/kubernetes/trident.yaml: its settings are those of this version, and its log is on the volume.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, describe, test } from "node:test";
import { promisify } from "node:util";
import { ROOT } from "../lib/stack.js";

const BINARY = path.resolve(ROOT, process.env.CARGO_TARGET_DIR || "target", "debug/standalone");
const TEXT = readFileSync(path.join(ROOT, "ops/kubernetes/trident.yaml"), "utf8");
const SETTINGS = Object.fromEntries([...TEXT.matchAll(/- \{ name: (TRIDENT_\w+), value: "?([^"}\s]*)"? \}/g)].map(([, name, value]) => [name, value]));

describe("the manifest for Kubernetes", () => {
  const folder = mkdtempSync(path.join(tmpdir(), "trident-kubernetes-"));
  after(() => rmSync(folder, { recursive: true, force: true }));

  test("has settings that a check accepts", async () => {
    const secret = path.join(folder, "secret");
    writeFileSync(secret, "0123456789abcdef0123456789abcdef\n");
    const env = { ...SETTINGS, TRIDENT_SECRET_FILE: secret, TRIDENT_BUS: `file:${folder}/log`, RUST_LOG: "warn" };
    const { stdout, stderr } = await promisify(execFile)(BINARY, ["check"], { env });
    assert.doesNotMatch(stdout + stderr, /unknown/);
    for (const name of Object.keys(SETTINGS)) assert.match(stdout, new RegExp(`^${name}\\b`, "m"));
  });

  test("keeps the log on a volume that is large enough for it", () => {
    const [, directory] = /^file:(.+)$/.exec(SETTINGS.TRIDENT_BUS);
    const [, volume] = new RegExp(`- \\{ name: (\\w+), mountPath: ${directory} \\}`).exec(TEXT);
    const [, claim] = new RegExp(`- name: ${volume}\\n +persistentVolumeClaim: \\{ claimName: (\\w+) \\}`).exec(TEXT);
    assert.match(TEXT, new RegExp(`kind: PersistentVolumeClaim\\nmetadata:\\n  name: ${claim}\\n`));
    const gibibytes = (text) => Number(/^(\d+)Gi(?:B)?$/.exec(text)[1]);
    assert.ok(gibibytes(/storage: (\S+) \}/.exec(TEXT)[1]) > gibibytes(SETTINGS.TRIDENT_DISK_TOTAL));
  });
});
