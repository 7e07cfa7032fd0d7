// What a soak found, in Markdown and as the lines of a plot.

const MIB = 1024 * 1024;
const row = (cells) => `| ${cells.join(" | ")} |`;
const table = (titles, rows) => [row(titles), row(titles.map((_, at) => (at === 0 ? "---" : "---:"))), ...rows.map(row)].join("\n");
const whole = (number) => Math.round(number).toLocaleString("en");
const signed = (number, digits) => `${number < 0 ? "−" : "+"}${Math.abs(number).toFixed(digits)}`;

/** A row for each installation: every message accounted for. */
export const accounts = (sums) => table(
  ["installation", "published", "acknowledged", "delivered", "lost", "repeated", "gaps reported", "connections of readers", "p50 ms", "p99 ms", "silence s: SSE", "comet", "Socket.IO"],
  sums.map(({ name, published, acknowledged, delivered, lost, repeated, gaps, visits, p50, p99, silence }) => [
    name, ...[published, acknowledged, delivered, lost, repeated, gaps, visits].map(whole), p50.toFixed(1), p99.toFixed(0),
    ...["sse", "comet", "socket.io"].map((transport) => ((silence[transport] ?? 0) / 1_000).toFixed(1)),
  ]),
);

/** A row for each process that was judged. */
export const curves = (judged) => table(
  ["process", "memory MiB", "change", "limit", "descriptors", "change", "limit", "threads", "change", ""],
  judged.map(({ name, verdicts, isFlat, why }) => {
    if (verdicts.length === 0) return [name, ...Array(8).fill(""), why];
    const [memory, descriptors, threads] = verdicts;
    return [
      name,
      (memory.usual / MIB).toFixed(1), signed(memory.growth / MIB, 2), (memory.tolerance / MIB).toFixed(1),
      descriptors.usual, signed(descriptors.growth, 1), descriptors.tolerance.toFixed(0),
      threads.usual, signed(threads.growth, 1),
      isFlat ? "flat" : `NOT FLAT: ${verdicts.filter((verdict) => !verdict.isFlat).map(({ kind }) => kind).join(", ")}`,
    ];
  }),
);

const MEASURES = [
  ["memory", "MiB", ({ memory }) => memory / MIB],
  ["descriptors", "", ({ descriptors }) => descriptors],
  ["threads", "", ({ threads }) => threads],
];

/** Lines for `trident-bench plot`. A restarted process is a curve with breaks. */
export function* plot(lives, loads) {
  for (const [panel, unit, value] of MEASURES) {
    for (const { of: name, samples } of lives) {
      for (const sample of samples) yield { panel, unit, series: name, x: sample.t, y: value(sample) };
      yield { panel, unit, series: name, x: samples.at(-1).t, y: null };
    }
  }
  for (const [panel, unit, key] of [["deliveries", "1/s", "deliveries"], ["latency", "ms", "p50"], ["latency", "ms", "p99"], ["longest silence", "s", "silence"]]) {
    for (const { name, seconds } of loads) {
      const series = panel === "latency" ? `${name}, ${key}` : name;
      for (const second of seconds) yield { panel, unit, series, x: second.t, y: key === "silence" ? second.silence / 1_000 : second[key], ...(panel === "latency" ? { log: true } : {}) };
    }
  }
}
