/** Events about a page or worker and its network. */
export interface PageEvents {
  hide(): void;
  show(): void;
  offline(): void;
  online(): void;
  /** Timers may have stood still. */
  awake(): void;
}

/** Listens, where there is something to listen to, and gives what ends that. In Node there is nothing. */
export function watchPage(events: PageEvents): () => void {
  const ends: (() => void)[] = [];
  const on = (target: EventTarget | undefined, type: string, listener: () => void): void => {
    target?.addEventListener(type, listener);
    ends.push(() => target?.removeEventListener(type, listener));
  };
  const self = globalThis as unknown as { addEventListener?: unknown; document?: EventTarget };
  const target = self.addEventListener ? globalThis : undefined;
  on(target, "pagehide", events.hide);
  on(target, "pageshow", events.show);
  on(target, "offline", events.offline);
  on(target, "online", events.online);
  on(self.document, "visibilitychange", events.awake);
  // A hidden page that is frozen has no timers, and does not notice what comes.
  on(self.document, "freeze", events.hide);
  on(self.document, "resume", events.show);
  return () => ends.forEach((end) => end());
}
