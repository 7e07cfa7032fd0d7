// A shell in which the blocks of a page run one after the other, as somebody would type them.

import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { freePort } from "../lib/process.js";
import { ROOT, binary } from "../lib/stack.js";
import { soon } from "../lib/wait.js";

const SHIMS = path.join(import.meta.dirname, "shims");
const WITHIN = 60_000;

export class Shell {
  #child;
  #said = "";
  #waiting = () => {};
  #count = 0;

  /** In a folder that looks like a clone of the project after its release build; curl, cargo and others are as in `shims/`. */
  static async open(env = {}) {
    const folder = mkdtempSync(path.join(tmpdir(), "trident-docs-"));
    const ports = [await freePort(), await freePort()];
    for (const name of ["examples", "docs", "web"]) symlinkSync(path.join(ROOT, name), path.join(folder, name));
    symlinkSync(path.join(ROOT, "e2e/node_modules"), path.join(folder, "node_modules"));
    const release = path.join(folder, "target/release");
    mkdirSync(release, { recursive: true });
    // The build that the other tests use, on a port that is free.
    const standalone = path.join(release, "standalone");
    writeFileSync(standalone, `#!/bin/sh\nTRIDENT_LISTEN=127.0.0.1:${ports[0]} exec "${binary("standalone")}" "$@"\n`);
    chmodSync(standalone, 0o755);
    const clean = Object.entries(process.env).filter(([key]) => !key.startsWith("TRIDENT_"));
    const PATH = `${SHIMS}:${release}:${process.env.PATH}`;
    return new Shell(folder, { ...Object.fromEntries(clean), PATH, SHIM_ROOT: ROOT, SHIM_RELEASE: release, ...env }, { ports });
  }

  /** In a folder that is the shell's from now on: it goes when that is closed. Each block has `within` milliseconds. */
  constructor(folder, { NODE_TEST_CONTEXT: _, ...env }, { ports: [port, filesPort] = [8080, 3000], within = WITHIN } = {}) {
    Object.assign(this, { folder, port, filesPort, within });
    this.#child = spawn("bash", ["--norc", "--noprofile"], { cwd: folder, detached: true, stdio: ["pipe", "pipe", "pipe"], env });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        this.#said += text;
        this.#waiting();
      });
    }
    // With jobs as in a terminal, and every command that fails told.
    this.#child.stdin.write(`set -mE; trap 'echo "<<failed: $BASH_COMMAND>>"' ERR\n`);
  }

  get base() {
    return `http://localhost:${this.port}`;
  }

  /** A text of a page for the ports that are free here. */
  adapt(text) {
    return text.replaceAll("localhost:8080", `localhost:${this.port}`).replaceAll("localhost:3000", `localhost:${this.filesPort}`).replaceAll("http.server 3000", `http.server ${this.filesPort}`);
  }

  save(name, text) {
    writeFileSync(path.join(this.folder, name), this.adapt(text));
  }

  /** Runs a block to its end and gives what was said meanwhile; throws if one of its commands failed. */
  async run(text) {
    const name = `block-${(this.#count += 1)}.sh`;
    this.save(name, text);
    const end = `<<end ${this.#count}>>`;
    const from = this.#said.length;
    const done = new Promise((resolve) => {
      this.#waiting = () => this.#said.includes(end, from) && resolve();
    });
    this.#child.stdin.write(`. ./${name}\nprintf '%s\\n' '${end}'\n`);
    try {
      await soon(`the end of\n${text}`, done, this.within);
    } catch (error) {
      throw new Error(`${error.message}\n${this.#said.slice(from)}`);
    }
    const said = this.#said.slice(from).replace(`${end}\n`, "");
    const failed = /<<failed: .*/.exec(said);
    if (failed) throw new Error(`${failed[0]} in\n${text}\n${said}`);
    return said;
  }

  /** Ends the shell and all that it started. */
  async close() {
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.stdin.write("trap - ERR; kill -9 $(jobs -p) 2>/dev/null; exit\n");
    await soon("the end of the shell", ended, 10_000).catch(() => process.kill(-this.#child.pid, "SIGKILL"));
    rmSync(this.folder, { recursive: true, force: true });
  }
}
