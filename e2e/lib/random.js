// Chance that can be had again: a test prints its seed, and TRIDENT_SEED brings the same run back.

export const seed = Number(process.env.TRIDENT_SEED) || Math.floor(Math.random() * 2 ** 31);

/** Whole numbers below `n`, from a 32-bit xorshift. */
export function chance(start = seed) {
  let state = start | 1;
  return (n) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % n;
  };
}
