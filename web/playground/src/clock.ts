/**
 * The server's clock as this page knows it, in milliseconds. The device's own clock may be wrong by hours and is not asked: of all
 * moments that the server has named, the one that was here soonest after shows how the two count.
 */
let least = Infinity;

/** Only goes forward, and begins anywhere. */
const here = (): number => performance.now();

/** The server's clock showed `time`, now or before. */
export function passed(time: number): void {
  least = Math.min(least, here() - time);
}

/** What the server's clock shows now, less the time that the quickest message took. */
export const serverNow = (): number => here() - least;

/** A moment on this page. What the server's clock showed then is known the better the later it is asked. */
export class Moment {
  #at = here();

  /** Whether `time` of the server was before. */
  isAfter(time: number): boolean {
    return time < this.#at - least;
  }
}

/** To the second, for as long as no message has come. */
export async function askTime(): Promise<void> {
  try {
    const { headers } = await fetch(location.pathname, { method: "HEAD", cache: "no-store" });
    const time = Date.parse(headers.get("Date") ?? "");
    if (!Number.isNaN(time)) passed(time);
  } catch {
    // The panes tell what is wrong with the connection.
  }
}
