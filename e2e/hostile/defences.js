// The defences that the attacks meet, as settings, and each of them taken out. `node hostile/without.js` runs the attacks
// that each one is there for without it, and expects them to get through.

import { SECRET } from "../lib/token.js";

/** The settings of every service here: as an operator would have them, only smaller and faster, so that an attack is cheap. */
export const SETTINGS = {
  TRIDENT_DEMO: "off",
  // nginx alone: attackers come from 127.0.1.0 and on, and are who they are.
  TRIDENT_TRUSTED_PROXIES: "127.0.0.1",
  TRIDENT_KEEPALIVE: "1s",
  TRIDENT_ORIGINS: "http://page.example",
  TRIDENT_JWT_AUDIENCE: "trident",
  TRIDENT_HISTORY_COUNT: "20000",
  TRIDENT_MAX_CONNECTIONS: "2000",
  TRIDENT_MAX_CONNECTIONS_PER_ADDRESS: "40",
  TRIDENT_CONNECT_RATE: "100",
  TRIDENT_PUBLISH_RATE: "200",
  TRIDENT_SOCKET_RATE: "200",
  TRIDENT_HEADER_TIMEOUT: "2s",
  TRIDENT_BODY_TIMEOUT: "2s",
};

/** What is changed in nginx.conf: its times, so that nobody waits for them, and its limits, as gateway.sh writes them for these settings. */
export const GATEWAY_SETTINGS = [
  ["client_header_timeout 10s;", "client_header_timeout 2s;"],
  ["client_body_timeout 10s;", "client_body_timeout 2s;"],
  ["#limit_conn under_way 100;", `limit_conn under_way ${SETTINGS.TRIDENT_MAX_CONNECTIONS_PER_ADDRESS};`],
  ["#limit_conn held 20000;", `limit_conn held ${SETTINGS.TRIDENT_MAX_CONNECTIONS};`],
  ["#limit_req zone=opening burst=100 ", `limit_req zone=opening burst=${SETTINGS.TRIDENT_CONNECT_RATE} `],
  ["rate=100r/s;", `rate=${SETTINGS.TRIDENT_CONNECT_RATE}r/s;`],
];

/** Each defence: what is set to be without it, for services and for nginx, and an attack (as its test is named) that then gets through. */
export const DEFENCES = {
  "time for heads": { set: { TRIDENT_HEADER_TIMEOUT: "1h" }, attack: "heads that never end: standalone" },
  "time for heads, nginx": { nginx: [["client_header_timeout 2s;", "client_header_timeout 1h;"]], attack: "heads that never end: gateway" },
  "time for bodies": { set: { TRIDENT_BODY_TIMEOUT: "1h" }, attack: "bodies that never end: standalone" },
  "time for bodies, nginx": { nginx: [["client_body_timeout 2s;", "client_body_timeout 1h;"]], attack: "bodies that stop: gateway" },
  "publish rate": { set: { TRIDENT_PUBLISH_RATE: "0" }, attack: "publishing at ten times the limit: standalone" },
  "connections of an address": { set: { TRIDENT_MAX_CONNECTIONS_PER_ADDRESS: "0" }, attack: "streams of one address: standalone" },
  "connections of an address, sessions": { set: { TRIDENT_MAX_CONNECTIONS_PER_ADDRESS: "0" }, attack: "sessions that never join: standalone" },
  "connections of an address, nginx": { nginx: [[`limit_conn under_way ${SETTINGS.TRIDENT_MAX_CONNECTIONS_PER_ADDRESS};`, ""]], attack: "bodies of one address: gateway" },
  "connect rate": { set: { TRIDENT_CONNECT_RATE: "0" }, attack: "rapid reconnects: standalone" },
  "packet rate": { set: { TRIDENT_SOCKET_RATE: "0" }, attack: "packets of one socket: standalone" },
  "packet rate, in bodies": { set: { TRIDENT_SOCKET_RATE: "0" }, attack: "packets in one body: standalone" },
  "rate of fragments and pings": { set: { TRIDENT_SOCKET_RATE: "0" }, attack: "WebSocket frames: standalone" },
  "memory of streams": { set: { TRIDENT_STREAM_BYTES: "0" }, attack: "a million streams: standalone" },
  "memory of streams, forks": { set: { TRIDENT_STREAM_BYTES: "0" }, attack: "fork bombs: standalone" },
  "rate of events": { set: { TRIDENT_EVENTS_RATE: "0" }, attack: "anonymous connects: standalone" },
  "body limit": { set: { TRIDENT_MAX_BODY: "0" }, attack: "bodies beyond the limit: standalone" },
  "origins": { set: { TRIDENT_ORIGINS: "http://page.example,http://evil.example" }, attack: "pages of other sites: gateway" },
  "audience": { set: { TRIDENT_JWT_AUDIENCE: undefined }, attack: "invalid tokens: standalone" },
  "rotation of the secret": { set: { TRIDENT_SECRET: `${SECRET},the-key-of-last-year-0123456789abcdef-0123456789` }, attack: "invalid tokens: gateway" },
};

/** The name of the one that is out, if any. */
export const without = process.env.TRIDENT_WITHOUT;
if (without && !DEFENCES[without]) throw new Error(`TRIDENT_WITHOUT=${without} is none of ${Object.keys(DEFENCES).join(", ")}`);

/** The settings of a target, with those of the attack `more`, without the defence that is out. */
export const settingsWith = (more = {}) => ({ ...SETTINGS, ...more, ...DEFENCES[without]?.set });
export const settings = settingsWith();

/** Makes the configuration of nginx that is attacked. */
export function spoil(text) {
  return [...GATEWAY_SETTINGS, ...(DEFENCES[without]?.nginx ?? [])].reduce((whole, [from, to]) => {
    if (!whole.includes(from)) throw new Error(`nginx.conf should say "${from}"`);
    return whole.replaceAll(from, to);
  }, text);
}
