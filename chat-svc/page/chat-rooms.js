// What the page knows: its user, its rooms and their messages. Nothing here touches the page or the network.

import { memory } from "./page.js";

export const FIRST_ROOM = "lobby";
const KEPT = 500; // messages kept per room

export const session = {
  me: memory.get("trident.name") ?? "",
  current: FIRST_ROOM,
  /** Whether the server knows rooms: it has answered `join`. */
  hasRooms: false,
};

/** Name of each room that we are in → its messages, oldest first, and what else we know of it. */
export const rooms = new Map();

export function roomOf(name) {
  if (!rooms.has(name)) rooms.set(name, { messages: [], unread: 0, people: [], count: 0, typing: new Map(), hole: false });
  return rooms.get(name);
}

/** Ids are `<milliseconds>-<sequence>`: compared as two numbers. */
export function isAfter(a, b) {
  const [aTime, aSequence] = a.split("-").map(Number);
  const [bTime, bSequence] = b.split("-").map(Number);
  return aTime === bTime ? aSequence > bSequence : aTime > bTime;
}

export function textOf(data) {
  if (typeof data === "string") return data;
  if (data instanceof ArrayBuffer) return `[${data.byteLength} bytes]`;
  return JSON.stringify(data);
}

export const nameOf = (from) => (typeof from === "object" && from !== null ? from.name : from) || "";

/** Inserts a message at its place. Two with one id are one message. */
export function take(room, message) {
  const list = roomOf(room).messages;
  if (message.id && list.some((known) => known.id === message.id)) return;
  let at = list.length;
  while (at > 0 && message.id && (!list[at - 1].id || isAfter(list[at - 1].id, message.id))) at -= 1;
  list.splice(at, 0, message);
  if (list.length > KEPT) list.shift();
}

/** The server sends our own message to us too: it is the one that waits, not another. */
export function adopt(room, message) {
  const list = roomOf(room).messages;
  const mine = list.find((known) => known.fate === "waiting" && known.text === message.text && !known.id);
  if (!mine || (message.from && session.me && message.from !== session.me)) return false;
  list.splice(list.indexOf(mine), 1);
  Object.assign(mine, { id: message.id, time: message.time, from: message.from });
  if (!message.id) mine.fate = "sent"; // from a server without ids only this confirms it
  take(room, mine);
  return true;
}

export function newestId(room) {
  return roomOf(room).messages.findLast((known) => known.id)?.id;
}

/** A stored message as the log has it, or as `[text, meta]`. */
export function fromHistory(entry) {
  const [data, meta] = Array.isArray(entry) ? entry : [entry.data ?? entry.text, entry.meta ?? entry];
  const from = nameOf(meta.from);
  return { id: meta.id, time: meta.time, from, text: textOf(data), mine: Boolean(session.me) && from === session.me };
}

export function setPeople(name, { members, count }) {
  const room = roomOf(name);
  room.people = Array.isArray(members) ? members.map(nameOf) : [];
  room.count = count ?? (typeof members === "number" ? members : room.people.length);
}

/** Stores which rooms we are in, for the next visit. */
export function storeRooms() {
  memory.set("trident.rooms", JSON.stringify([...rooms.keys()]));
}

/** The rooms of the last visit. Storage may contain anything. */
export function storedRooms() {
  try {
    const names = JSON.parse(memory.get("trident.rooms") ?? "[]");
    return Array.isArray(names) ? names.filter((name) => typeof name === "string") : [];
  } catch {
    return [];
  }
}
