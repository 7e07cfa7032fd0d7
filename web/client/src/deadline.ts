/** A time limit that starts again whenever data arrives. */
export interface Deadline {
  /** Goes off with another signal, or when the time is over. */
  readonly signal: AbortSignal;
  /** The time begins again, with as many milliseconds as before unless told. */
  renew(milliseconds?: number): void;
  /** The time stands still until it is renewed. */
  hold(): void;
}

/** A deadline in so many milliseconds, which also goes off with `signal`. Whoever holds it at the end aborts `signal`, too. */
export function deadline(signal: AbortSignal, milliseconds: number): Deadline {
  const controller = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const hold = (): void => clearTimeout(timer);
  const renew = (next = milliseconds): void => {
    hold();
    milliseconds = next;
    timer = setTimeout(() => controller.abort(new Error(`no answer within ${next / 1_000} s`)), next);
  };
  renew();
  if (signal.aborted) controller.abort();
  signal.addEventListener("abort", () => controller.abort());
  return { signal: controller.signal, renew, hold };
}
