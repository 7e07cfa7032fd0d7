/** Numbers and times in the language of the page. */
import { currentLanguage, say } from "./text.js";

export const count = (value: number): string => new Intl.NumberFormat(currentLanguage(), { maximumFractionDigits: value < 10 ? 1 : 0 }).format(value);

export function size(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  for (; bytes >= 1024 && at < units.length - 1; at += 1) bytes /= 1024;
  return `${count(bytes)} ${units[at]}`;
}

export const time = (ms: number): string => new Intl.DateTimeFormat(currentLanguage(), { dateStyle: "short", timeStyle: "medium" }).format(ms);

/** How long ago something was, in its largest unit. */
export function age(since: number, now = Date.now()): string {
  const seconds = Math.max(0, Math.round((now - since) / 1_000));
  if (seconds < 60) return say("seconds", { n: seconds });
  if (seconds < 3_600) return say("minutes", { n: Math.floor(seconds / 60) });
  if (seconds < 86_400) return say("hours", { n: Math.floor(seconds / 3_600) });
  return say("days", { n: Math.floor(seconds / 86_400) });
}

/** The time in an id, in milliseconds. */
export const timeOf = (id: string): number => Number(id.split("-")[0]);

/** Numbers by name, as `sse 3, ws 1`, without zeros. */
export const byName = (all: { [name: string]: number }): string =>
  Object.entries(all).filter(([, value]) => value > 0).map(([name, value]) => `${name} ${count(value)}`).join(", ") || "0";
