// A disk that loses what was not synced, on power cuts: for one process at a time, which syncs by fsync(2) and fdatasync(2) of the C library.
// unsynced.c says how it knows what is durable.

import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync, linkSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { OUT, ROOT } from "./stack.js";

/** What a disk writes as a whole. */
const SECTOR = 512;

/** Compiles the library that is loaded into the process. */
function build() {
  const library = path.join(OUT, "unsynced.so");
  execFileSync("cc", ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", library, path.join(ROOT, "e2e/lib/unsynced.c"), "-ldl", "-lpthread"], { stdio: "pipe" });
  return library;
}

const inodeOf = (file) => String(lstatSync(file, { bigint: true }).ino);

/** In memory where the system has a place for that: a real disk that is busy would make each sync of this one slow. */
const PLACE = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

export class UnsyncedDisk {
  #folder = realpathSync(mkdtempSync(path.join(PLACE, "trident-unsynced-")));
  /** The directory of the process. */
  live = path.join(this.#folder, "live");
  #durable = path.join(this.#folder, "durable");
  #boot = path.join(this.#folder, "boot_id");
  #library = build();

  constructor() {
    this.#begin(new Map());
  }

  /** What the process needs in its environment. */
  get environment() {
    return { LD_PRELOAD: this.#library, UNSYNCED_LIVE: this.live, UNSYNCED_DURABLE: this.#durable, UNSYNCED_BOOT: this.#boot };
  }

  /** Another run of the machine, on a disk with these files, all durable. */
  #begin(files) {
    for (const folder of [this.live, this.#durable]) rmSync(folder, { recursive: true, force: true });
    for (const folder of [this.live, this.#inDurable("content"), this.#inDurable("held")]) mkdirSync(folder, { recursive: true });
    writeFileSync(this.#boot, `${randomUUID()}\n`);
    let names = "";
    for (const [name, content] of files) {
      const file = path.join(this.live, name);
      writeFileSync(file, content);
      const inode = inodeOf(file);
      linkSync(file, this.#inDurable("held", inode));
      writeFileSync(this.#inDurable("content", inode), content);
      names += `${inode} ${name}\n`;
    }
    writeFileSync(this.#inDurable("names"), names);
  }

  #inDurable = (...parts) => path.join(this.#durable, ...parts);

  /**
   * Cuts the power; the process must have been killed. Without `pick` all is lost that was not synced. With `pick(n)`, a random number
   * below n, each sector that was not synced is lost or not, and the changes of names are.
   */
  cut(pick) {
    const durable = readFileSync(this.#inDurable("names"), "utf8").split("\n").filter(Boolean).map((line) => line.split(" "));
    const live = readdirSync(this.live).map((name) => [inodeOf(path.join(this.live, name)), name]);
    const files = new Map();
    for (const [inode, name] of pick?.(2) ? live : durable) {
      const synced = this.#inDurable("content", inode);
      const content = existsSync(synced) ? readFileSync(synced) : Buffer.alloc(0);
      files.set(name, pick ? this.#torn(content, inode, name, pick) : content);
    }
    this.#begin(files);
  }

  /** What is left of a file that had `before` when it was synced. */
  #torn(before, inode, name, pick) {
    const held = this.#inDurable("held", inode);
    const after = readFileSync(existsSync(held) ? held : path.join(this.live, name));
    const lengths = [before.length, after.length, Math.min(before.length, after.length) + pick(Math.abs(before.length - after.length) + 1)];
    const left = Buffer.alloc(lengths[pick(3)]);
    for (let at = 0; at < left.length; at += SECTOR) left.set((pick(2) ? before : after).subarray(at, Math.min(at + SECTOR, left.length)), at);
    return left;
  }

  remove() {
    rmSync(this.#folder, { recursive: true });
  }
}
