import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Watch } from "./pane.js";
import { currentLanguage, inEveryLanguage, say } from "./text.js";

/** Seconds that are shown. */
const SPAN = 120;
const HEIGHT = 220;

/** What happened within one second on one way. */
interface Second {
  latencies: number[];
  count: number;
  isConnected: boolean;
  isGap: boolean;
}

const nothing = (): Second => ({ latencies: [], count: 0, isConnected: false, isGap: false });
const now = (): number => Math.floor(Date.now() / 1_000);
const color = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Latency by way, and the rate, second by second; connections and gaps are marked. */
export class Chart {
  #ways: Map<string, Map<number, Second>>;
  #plot: uPlot | undefined;
  #place: HTMLElement;
  #summary: HTMLElement;

  constructor(place: HTMLElement, summary: HTMLElement, ways: readonly string[]) {
    this.#place = place;
    this.#summary = summary;
    this.#ways = new Map(ways.map((way) => [way, new Map()]));
    inEveryLanguage(() => {
      this.#begin();
      this.#sum();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#begin());
    new ResizeObserver(() => this.#plot?.setSize({ width: this.#place.clientWidth, height: HEIGHT })).observe(place);
    setInterval(() => this.#draw(), 1_000);
  }

  /** Where a way tells what happens on it. */
  watch(way: string): Watch {
    const second = (): Second => {
      const seconds = this.#ways.get(way) as Map<number, Second>;
      const found = seconds.get(now()) ?? nothing();
      seconds.set(now(), found);
      return found;
    };
    return {
      message(latency) {
        second().count += 1;
        if (latency !== undefined) second().latencies.push(latency);
      },
      connected: () => { second().isConnected = true; },
      gap: () => { second().isGap = true; },
    };
  }

  /** Made anew for another language or other colours. */
  #begin(): void {
    this.#plot?.destroy();
    const axis = { stroke: color("soft"), grid: { stroke: color("line"), width: 1 }, ticks: { stroke: color("line") } };
    const clock = new Intl.DateTimeFormat(currentLanguage(), { timeStyle: "medium" });
    const options: uPlot.Options = {
      width: this.#place.clientWidth || 600,
      height: HEIGHT,
      cursor: { show: false },
      legend: { show: false },
      scales: { ms: { range: (_, __, most) => [0, Math.max(10, (most ?? 0) * 1.2)] }, rate: { range: (_, __, most) => [0, Math.max(4, (most ?? 0) * 2)] } },
      axes: [
        { ...axis, values: (_, seconds) => seconds.map((second) => clock.format(second * 1_000)), space: 110 },
        { ...axis, scale: "ms", label: say("latencySeries"), size: 56 },
        { ...axis, scale: "rate", side: 1, label: say("rateSeries"), grid: { show: false }, size: 48 },
      ],
      series: [
        {},
        ...[...this.#ways.keys()].map((way) => ({ label: way, scale: "ms", stroke: color(way), width: 2, spanGaps: true, points: { show: true, size: 5 } })),
        { label: say("rateSeries"), scale: "rate", stroke: color("soft"), fill: color("sunk"), width: 1 },
      ],
      hooks: { draw: [(plot) => this.#mark(plot)] },
    };
    this.#plot = new uPlot(options, this.#data(), this.#place);
  }

  #draw(): void {
    const first = now() - SPAN;
    for (const seconds of this.#ways.values()) for (const at of seconds.keys()) if (at < first) seconds.delete(at);
    this.#plot?.setData(this.#data());
    this.#sum();
  }

  /** The same in words. */
  #sum(): void {
    const latest = (way: string): string => {
      const found = [...(this.#ways.get(way)?.values() ?? [])].flatMap(({ latencies }) => latencies).at(-1);
      return found === undefined ? "–" : `${found} ms`;
    };
    const rate = (this.#data().at(-1)?.at(-1) ?? 0) as number;
    this.#summary.textContent = say("summary", { comet: latest("comet"), chat: latest("chat"), sse: latest("sse"), rate });
  }

  #data(): uPlot.AlignedData {
    // The second that is under way is not yet of use.
    const times = Array.from({ length: SPAN }, (_, at) => now() - SPAN + at);
    const latencies = [...this.#ways.values()].map((seconds) => times.map((time) => {
      const all = seconds.get(time)?.latencies ?? [];
      return all.length > 0 ? all.reduce((a, b) => a + b) / all.length : null;
    }));
    // All of them bring the same messages, unless one is cut.
    const rate = times.map((time) => Math.max(...[...this.#ways.values()].map((seconds) => seconds.get(time)?.count ?? 0)));
    return [times, ...latencies, rate];
  }

  /** A dashed line for a connection, a thick one for a gap, in the colour of the way. */
  #mark(plot: uPlot): void {
    const { ctx, bbox } = plot;
    for (const [way, seconds] of this.#ways) {
      for (const [at, { isConnected, isGap }] of seconds) {
        if (!isConnected && !isGap) continue;
        const width = Math.round((isGap ? 4 : 1) * devicePixelRatio);
        // An odd width lies on pixels, not between them.
        const x = Math.round(plot.valToPos(at, "x", true)) + (width % 2) / 2;
        if (x < bbox.left) continue;
        ctx.save();
        ctx.strokeStyle = isGap ? color("bad") : color(way);
        ctx.lineWidth = width;
        ctx.setLineDash(isGap ? [] : [4 * devicePixelRatio, 4 * devicePixelRatio]);
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
        ctx.restore();
      }
    }
  }
}
