// A shell in which the blocks of a page run one after the other, as somebody would type them.

import { execFileSync, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { freePort } from "../lib/process.js";
import { ROOT, binary } from "../lib/stack.js";
import { soon } from "../lib/wait.js";

const SHIMS = path.join(import.meta.dirname, "shims");
const WITHIN = 60_000;
/** Milliseconds after which a command that never ends is ended although not all that is wanted of the block has come. */
const PATIENCE = { curl: 3_000, program: 20_000 };

/** Copies what is part of the project into `folder`, as a clone would, with the files' times. */
export function cloneInto(folder) {
  const files = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], { cwd: ROOT, encoding: "utf8" }).split("\0");
  mkdirSync(folder, { recursive: true });
  execFileSync("cp", ["--parents", "--no-dereference", "--preserve=mode,timestamps", ...files.filter((file) => file && existsSync(path.join(ROOT, file))), folder], { cwd: ROOT });
}

export class Shell {
  #child;
  #said = "";
  #waiting = () => {};
  #count = 0;

  /** In a clone of the project for which cargo has been run; curl, cargo and others are as in `shims/`. */
  static async open(env = {}) {
    const folder = path.join(mkdtempSync(path.join(tmpdir(), "trident-docs-")), "trident");
    cloneInto(folder);
    const ports = [await freePort(), await freePort()];
    const release = path.join(folder, "target/release");
    mkdirSync(release, { recursive: true });
    // The build that the other tests use, on a port that is free.
    const standalone = path.join(release, "standalone");
    writeFileSync(standalone, `#!/bin/bash\n[ "$1" != listen ] || echo "program $$" > "$SHIM_STREAM"\nTRIDENT_LISTEN=127.0.0.1:${ports[0]} exec "${binary("standalone")}" "$@"\n`);
    chmodSync(standalone, 0o755);
    const clean = Object.entries(process.env).filter(([key]) => !key.startsWith("TRIDENT_"));
    const PATH = `${SHIMS}:${process.env.PATH}`;
    return new Shell(folder, { ...Object.fromEntries(clean), PATH, SHIM_ROOT: ROOT, SHIM_RELEASE: release, ...env }, { ports });
  }

  /** In a folder whose parent is the shell's own, and is removed when that is closed. Each block has `within` milliseconds. */
  constructor(folder, { NODE_TEST_CONTEXT: _, ...env }, { ports: [port, filesPort] = [8080, 3000], within = WITHIN } = {}) {
    Object.assign(this, { folder, port, filesPort, within });
    this.stream = path.join(folder, "../stream");
    env = { ...env, SHIM_STREAM: this.stream };
    this.#child = spawn("bash", ["--norc", "--noprofile"], { cwd: folder, detached: true, stdio: ["pipe", "pipe", "pipe"], env });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        this.#said += text;
        this.#waiting();
      });
    }
    // Every command that fails is reported, unless it was ended by Ctrl-C. There are no jobs: pages must not depend on them.
    this.#child.stdin.write(`set -E; trap '[ $? = 130 ] || echo "<<failed: $BASH_COMMAND>>"' ERR\n`);
  }

  get base() {
    return `http://localhost:${this.port}`;
  }

  /** A text of a page for the ports that are free here. */
  adapt(text) {
    return text.replaceAll("localhost:8080", `localhost:${this.port}`).replaceAll("localhost:3000", `localhost:${this.filesPort}`).replaceAll("http.server 3000", `http.server ${this.filesPort}`);
  }

  /** Saves a text as a file of the folder that the shell is in. */
  save(name, text) {
    writeFileSync(path.join(readlinkSync(`/proc/${this.#child.pid}/cwd`), name), this.adapt(text));
  }

  /**
   * Runs a block to its end and gives its output; throws if one of its commands failed. A command that never ends is ended as by Ctrl-C, when
   * the block's output matches all of `wanted`.
   */
  async run(text, wanted = []) {
    const block = path.join(this.folder, `../block-${(this.#count += 1)}.sh`);
    writeFileSync(block, this.adapt(text));
    const end = `<<end ${this.#count}>>`;
    const from = this.#said.length;
    const done = new Promise((resolve) => {
      this.#waiting = () => this.#said.includes(end, from) && resolve();
    });
    this.#child.stdin.write(`. ${block}\nprintf '%s\\n' '${end}'\n`);
    let stream;
    const watch = setInterval(() => {
      stream = this.#interrupt(stream, () => wanted.every((one) => one.test(this.#said.slice(from))));
    }, 50);
    try {
      await soon(`the end of\n${text}`, done, this.within);
    } catch (error) {
      throw new Error(`${error.message}\n${this.#said.slice(from)}`);
    } finally {
      clearInterval(watch);
    }
    const said = this.#said.slice(from).replace(`${end}\n`, "");
    const failed = /<<failed: .*/.exec(said);
    if (failed) throw new Error(`${failed[0]} in\n${text}\n${said}`);
    return said;
  }

  /** Looks at the command that never ends, if one is running; ends it when it has written something and `isEnough`, or after a while. */
  #interrupt(stream, isEnough) {
    if (!existsSync(this.stream)) return undefined;
    const [kind, pid] = readFileSync(this.stream, "utf8").split(/\s/);
    if (!pid) return undefined;
    if (stream?.pid !== pid) return { pid, since: Date.now(), written: this.#said.length };
    const isOver = Date.now() - stream.since > PATIENCE[kind];
    if (!isOver && !(this.#said.length > stream.written && isEnough())) return stream;
    rmSync(this.stream);
    try {
      process.kill(Number(pid), "SIGINT");
    } catch (error) {
      if (error.code !== "ESRCH") throw error;
    }
    return undefined;
  }

  /** Ends the shell and all that it started. */
  async close() {
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.stdin.write("trap - ERR; kill -9 $(jobs -p) 2>/dev/null; exit\n");
    await soon("the end of the shell", ended, 10_000).catch(() => process.kill(-this.#child.pid, "SIGKILL"));
    rmSync(path.dirname(this.folder), { recursive: true, force: true });
  }
}
