/** The answers of `/v1` that the page uses: docs/openapi.json. */
import type { Message } from "trident-client";

/** A list over several processes. */
export interface Whole {
  /** Processes that did not answer. */
  incomplete?: string[];
}

export interface Webhooks {
  sender: boolean;
  failing: boolean;
  batches: number;
  events: number;
  failures: number;
  losses: number;
  lag_seconds: number;
  last_error?: { time: number; message: string };
}

export interface Process {
  name?: string;
  service: string;
  version: string;
  up_since: number;
  ready: boolean;
  connections: { [transport: string]: number };
  rates: { publishes: number; deliveries: number; opened: number };
  memory?: number;
  log: { channels: number; messages: number; bytes: number; head: string };
  bus: { kind: string; degraded: string[] };
  refusals: { [reason: string]: number };
  webhooks?: Webhooks;
}

export interface Stats extends Whole {
  processes: Process[];
}

export interface Channel {
  name: string;
  readers: { [transport: string]: number };
  messages: number;
  bytes: number;
  oldest?: string;
  newest?: string;
}

export interface Channels extends Whole {
  channels: Channel[];
  next?: string;
}

export interface History {
  messages: Message[];
  cursor: string;
  more: boolean;
  gap?: { requested: string; resumed: string };
}

export interface Presence extends Whole {
  users: { user: string; connections: { id: string; transport: string; since: number }[] }[];
  count: number;
  anonymous: number;
  next?: string;
}

export interface Connection {
  id: string;
  user?: string;
  transport: string;
  channels: string[];
  address: string;
  since: number;
  lag?: number;
}

export interface Connections extends Whole {
  connections: Connection[];
  next?: string;
}
