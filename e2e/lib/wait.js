// Waiting for conditions, never for a time.

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks `condition` again and again until it gives something true, and gives that; throws after `within` milliseconds. */
export async function until(what, condition, { within = 10_000, every = 20 } = {}) {
  const end = Date.now() + within;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > end) throw new Error(`${what}: not within ${within} ms`);
    await sleep(every);
  }
}

/** `promise`, or an error that names what was waited for. */
export function soon(what, promise, within = 10_000) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${within} ms`)), within);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
