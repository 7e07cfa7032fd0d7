import type { Signal } from "./platform.js";

/**
 * Runs `what` with a signal that goes off with `signal`, after so many milliseconds (0: never), when `abort` is called, and at the end.
 */
export async function limited<T>(
  signal: Signal | undefined,
  milliseconds: number,
  what: (signal: AbortSignal, abort: () => void) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const abort = (): void => controller.abort(signal?.reason);
  const timer = milliseconds > 0 && setTimeout(() => controller.abort(new Error(`no answer within ${milliseconds / 1_000} s`)), milliseconds);
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort);
  try {
    return await what(controller.signal, abort);
  } finally {
    if (timer) clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
    abort();
  }
}
