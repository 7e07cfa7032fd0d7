// Random numbers that can be repeated: a test prints its seed, and with SEED or TRIDENT_SEED set to it, it makes the same choices.

const given = process.env.SEED || process.env.TRIDENT_SEED;
export const seed = given ? Number(given) : Math.floor(Math.random() * 2 ** 31);

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
