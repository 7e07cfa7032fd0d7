/** What is needed of a browser. */
export interface Browser {
  locks: Pick<LockManager, "request">;
  channel(name: string): Pick<BroadcastChannel, "postMessage" | "close" | "onmessage">;
}

/** This page's browser, if it has what is needed: pages by TLS and of localhost have. */
export function thisBrowser(): Browser | undefined {
  const { document, navigator, BroadcastChannel } = globalThis;
  if (!document || !navigator?.locks || !BroadcastChannel) return undefined;
  return { locks: navigator.locks, channel: (name) => new BroadcastChannel(name) };
}
