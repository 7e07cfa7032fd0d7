import type { Signal } from "./platform.js";

/** A signal that goes off with `signal`, or after so many milliseconds. `end` ends the waiting. */
export function limited(signal: Signal | undefined, milliseconds: number): { signal: AbortSignal; end(): void } {
  const controller = new AbortController();
  const abort = (): void => controller.abort(signal?.reason);
  const timer = setTimeout(() => controller.abort(new Error(`no answer within ${milliseconds / 1_000} s`)), milliseconds);
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort);
  const end = (): void => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  };
  return { signal: controller.signal, end };
}
