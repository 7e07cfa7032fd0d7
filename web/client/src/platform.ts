/** What is used of the platform, by structure: the types of this package need neither the DOM library nor Node's. */

/** As with `fetch`. */
export type Credentials = "omit" | "same-origin" | "include";

/** A `URL`. */
export interface Address {
  readonly href: string;
  readonly origin: string;
  readonly pathname: string;
}

/** An `AbortSignal`. */
export interface Signal {
  readonly aborted: boolean;
  readonly reason: unknown;
  addEventListener(type: "abort", listener: () => void, options?: object): void;
  removeEventListener(type: "abort", listener: () => void): void;
}

/** Runs `what` as a task of its own. Unlike with `setTimeout`, browsers add no delay. */
export function task(what: () => void): void {
  const { setImmediate } = globalThis as { setImmediate?: (what: () => void) => unknown };
  if (setImmediate) return void setImmediate(what);
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    what();
  };
  port2.postMessage(undefined);
}

/** Milliseconds of work in one task: a page has to draw and answer its user in between. */
export const SLICE = 16;
