// Whether a curve is flat: the slope that is in the middle of those between all pairs of its samples (Theil and Sen), over the
// time that is judged. A third of the samples may be anything, such as the swing of a fault, without moving it.

const middle = (numbers) => {
  const sorted = numbers.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
};

/** At most this many samples are paired; of more, every second, every third… */
const MOST = 400;

/** The slope of `samples`, each `[second, value]`, for a second. */
export function slope(samples) {
  const step = Math.ceil(samples.length / MOST);
  const some = samples.filter((_, at) => at % step === 0);
  const slopes = some.flatMap(([t, value], at) => some.slice(at + 1).map(([later, next]) => (next - value) / (later - t)));
  return slopes.length === 0 ? 0 : middle(slopes);
}

const MIB = 1024 * 1024;

/**
 * How much each may grow over the whole time that is judged, by its middle value. Memory: allocators keep what they were once
 * given, so that the first few megabytes say nothing.
 */
export const LONG = {
  memory: (usual) => Math.max(2 * MIB, usual * 0.08),
  descriptors: (usual) => Math.max(6, usual * 0.15),
  threads: () => 2,
};

/**
 * For a soak of a minute or two, in which a round of faults is not much shorter than what is judged: when the other replicas go,
 * all of some forty clients may come to the one that is left alone, and stay.
 */
export const SHORT = {
  memory: (usual) => Math.max(6 * MIB, usual * 0.25),
  descriptors: () => 45,
  threads: () => 3,
};

/** The judgement of one curve: `{from, usual, growth, tolerance, isFlat}`. What shrinks is flat. */
export function judge(kind, samples, tolerances) {
  const usual = middle(samples.map(([, value]) => value));
  const growth = slope(samples) * (samples.at(-1)[0] - samples[0][0]);
  const tolerance = tolerances[kind](usual);
  return { kind, from: samples[0][1], usual, growth, tolerance, isFlat: growth <= tolerance };
}

/**
 * Judges every process that lived `atLeast` seconds after it had warmed up. `lives`: for each, `{name, isUntouched, samples}`
 * with samples as `{t, memory, descriptors, threads}`. One that no fault ended has to be among those judged.
 */
export function judgeLives(lives, { warmUp, atLeast, tolerance }) {
  return lives.flatMap(({ name, isUntouched, samples }) => {
    const from = Math.max(samples[0].t, 0) + warmUp;
    const warm = samples.filter(({ t }) => t >= from);
    if (warm.length < 2 || warm.at(-1).t - warm[0].t < atLeast) {
      return isUntouched ? [{ name, isUntouched, verdicts: [], isFlat: false, why: "it was not there long enough to be judged" }] : [];
    }
    const verdicts = Object.keys(tolerance).map((kind) => judge(kind, warm.map((sample) => [sample.t, sample[kind]]), tolerance));
    return [{ name, isUntouched, verdicts, isFlat: verdicts.every(({ isFlat }) => isFlat) }];
  });
}
