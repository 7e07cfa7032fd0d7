/**
 * The server's clock as this page knows it, in milliseconds. The device's own clock may be wrong by hours and is not used: of all times
 * that the server has sent, the one that arrived fastest gives the difference.
 */
let least = Infinity;

/** Monotonic, with an arbitrary start. */
const here = (): number => performance.now();

/** The server's clock showed `time` now or earlier. */
export function passed(time: number): void {
  least = Math.min(least, here() - time);
}

/** The time of the server's clock now, less the time that the fastest message took. */
export const serverNow = (): number => here() - least;

/** A moment on this page. Its time on the server's clock becomes more exact as messages arrive. */
export class Moment {
  #at = here();

  /** Whether `time` of the server was before. */
  isAfter(time: number): boolean {
    return time < this.#at - least;
  }
}

/** Asks for the time to the second, until a message has arrived. */
export async function askTime(): Promise<void> {
  try {
    const { headers } = await fetch(location.pathname, { method: "HEAD", cache: "no-store" });
    const time = Date.parse(headers.get("Date") ?? "");
    if (!Number.isNaN(time)) passed(time);
  } catch {
    // The panes show what is wrong with the connection.
  }
}
