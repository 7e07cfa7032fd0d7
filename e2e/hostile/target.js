// What is attacked: standalone, or the three services on one Redis behind nginx.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { ask } from "../lib/http.js";
import { startRedis } from "../lib/redis.js";
import { startGateway, startService } from "../lib/stack.js";
import { token } from "../lib/token.js";
import { settings, settingsWith, spoil } from "./defences.js";
import { computedIn } from "./machine.js";

export const STANDALONE = "standalone";
export const GATEWAY = "gateway";
export const KINDS = [STANDALONE, GATEWAY];
/** The gateway's other door. */
export const TLS = "TLS";

const PAGE = 4_096;

/** A token that these targets accept. */
export const key = (claims = {}, options) => token({ aud: "trident", ...claims }, options);
export const bearer = (claims) => ({ Authorization: `Bearer ${key(claims)}` });

/** Bytes of memory that a process holds. */
export const resident = (pid) => Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) * PAGE;

/** What the threads of a process have computed for that have this name, of which the system keeps 15 characters. */
export function computedBy(pid, name) {
  const threads = readdirSync(`/proc/${pid}/task`).map((id) => `/proc/${pid}/task/${id}`);
  const found = threads.filter((path) => readFileSync(`${path}/comm`, "utf8").trim() === name.slice(0, 15));
  if (found.length === 0) throw new Error(`no thread is called ${name}`);
  return found.reduce((sum, path) => sum + computedIn(path), 0);
}

/** The sum over all labels of a figure in `/metrics`; `labels` picks some. */
export async function figure(base, name, labels = "") {
  const text = (await ask(`${base}/metrics`)).body;
  const lines = text.split("\n").filter((line) => line.startsWith(name) && /[ {]/.test(line[name.length]) && line.includes(labels));
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

/** nginx.conf as it is attacked. It speaks TLS at another port, which sends nobody there who comes without; `connections`: all that it may have. */
function attacked(text, connections) {
  // nginx reports connections that it closes to have room at the level of warnings.
  const open = spoil(text).replace(/^ *http \d+;$/m, "").replace(/(error_log \S+) crit;/, "$1 warn;");
  if (!connections) return open;
  return open.replace("worker_processes auto;", "worker_processes 1;").replace(/worker_connections \d+;/, `worker_connections ${connections};`);
}

/**
 * Starts one. `base` and `port` are where clients go; `doors` all ports that somebody may knock at, by name. `descriptors`: how many
 * standalone may have open; nginx's connections, of which each client takes two, are one for each. `settings`: of standalone, beyond the usual.
 */
export async function openTarget(kind, { descriptors, settings: more = {} } = {}) {
  const parts = [];
  try {
    if (kind === STANDALONE) {
      parts.push(await startService("standalone", settingsWith(more), undefined, { descriptors }));
    } else {
      const redis = await startRedis();
      parts.push({ said: redis.said, alive: redis.alive, stop: () => redis.close() });
      for (const name of ["comet-svc", "chat-svc", "sse-svc"]) {
        parts.push(await startService(name, { ...settings, TRIDENT_BUS: redis.url }));
      }
      const [, comet, chat, sse] = parts.map(({ port }) => port);
      parts.push({ name: GATEWAY, ...(await startGateway({ comet, chat, sse }, (text) => attacked(text, descriptors), { tls: true })) });
    }
    const named = parts.filter(({ name }) => name);
    const services = named.filter(({ name }) => name !== GATEWAY);
    const last = parts.at(-1);
    return {
      kind,
      base: last.base,
      port: last.port,
      services,
      service: (name) => services.find((one) => one.name === name) ?? services[0],
      doors: [...named.map(({ name, port }) => ({ name, port })), ...(last.tlsPort ? [{ name: TLS, port: last.tlsPort }] : [])],
      /** Processes of ours and nginx's workers. */
      pids: () => [...services.map(({ pid }) => pid), ...(last.workers?.() ?? []).map(Number)],
      /** A figure, summed over all services. */
      figure: async (name, labels) => (await Promise.all(services.map(({ base }) => figure(base, name, labels)))).reduce((sum, one) => sum + one, 0),
      /** How many requests nginx has refused for this reason, as far as its log is written. */
      logged: (reason) => (last.folder && existsSync(`${last.folder}/access.log`) ? readFileSync(`${last.folder}/access.log`, "utf8").split(`refused=${reason}\n`).length - 1 : 0),
      told: () => last.told?.() ?? "",
      said: () => parts.map((part) => part.said()).join("\n"),
      alive: () => parts.every((part) => part.alive()),
      async stop() {
        for (const part of parts.toReversed()) await part.stop();
      },
    };
  } catch (error) {
    for (const part of parts.toReversed()) await part.stop("SIGKILL").catch(() => {});
    throw error;
  }
}
