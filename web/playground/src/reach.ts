/**
 * Whether the server answers. All parts of the page contribute what they find out and show the same: a stopped server has the same words
 * everywhere, whichever transport was the first to notice it.
 */
let isAway = false;
const listeners = new Set<() => void>();

function set(away: boolean): void {
  if (away === isAway) return;
  isAway = away;
  for (const show of listeners) show();
}

/** The server has answered. */
export const reached = (): void => set(false);

/** The server does not answer, by any transport. */
export const missed = (): void => set(true);

export const isServerAway = (): boolean => isAway;

/** Calls `show` whenever that changes. */
export function whenReachChanges(show: () => void): void {
  listeners.add(show);
}
