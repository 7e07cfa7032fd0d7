/** A time limit that starts again whenever data arrives. */
export interface Deadline {
  /** Goes off when the time is over, or the attempt is aborted. */
  readonly signal: AbortSignal;
  /** The time begins again, with as many milliseconds as before unless told. */
  renew(milliseconds?: number): void;
  /** The time stands still until it is renewed. */
  hold(): void;
}

/** Aborts `attempt` in so many milliseconds. */
export function deadline(attempt: AbortController, milliseconds: number): Deadline {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const hold = (): void => clearTimeout(timer);
  const renew = (next = milliseconds): void => {
    hold();
    milliseconds = next;
    timer = setTimeout(() => attempt.abort(new Error(`no answer within ${next / 1_000} s`)), next);
  };
  renew();
  return { signal: attempt.signal, renew, hold };
}
