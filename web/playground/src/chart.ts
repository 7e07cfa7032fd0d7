import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Watch } from "./pane.js";
import { currentLanguage, inEveryLanguage, say } from "./text.js";

/** Seconds that are shown. */
const SPAN = 120;
const HEIGHT = 200;

/** What happened within one second in one pane. */
interface Second {
  latencies: number[];
  count: number;
  isConnected: boolean;
  isGap: boolean;
}

const nothing = (): Second => ({ latencies: [], count: 0, isConnected: false, isGap: false });
const now = (): number => Math.floor(Date.now() / 1_000);
const color = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Latency by pane, and the rate, second by second, with marks for connections and gaps. */
export class Chart {
  #panes: Map<string, Map<number, Second>>;
  #plot: uPlot | undefined;
  #place: HTMLElement;
  #summary: HTMLElement;

  constructor(place: HTMLElement, summary: HTMLElement, panes: readonly string[]) {
    this.#place = place;
    this.#summary = summary;
    this.#panes = new Map(panes.map((pane) => [pane, new Map()]));
    inEveryLanguage(() => {
      this.#begin();
      this.#sum();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#begin());
    new ResizeObserver(() => this.#plot?.setSize({ width: this.#place.clientWidth, height: HEIGHT })).observe(place);
    setInterval(() => this.#draw(), 1_000);
  }

  /** For a pane, to record what happens in it. */
  watch(pane: string): Watch {
    const second = (): Second => {
      const seconds = this.#panes.get(pane) as Map<number, Second>;
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

  /** Draws it again, in another language or other colours. */
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
        ...[...this.#panes.keys()].map((pane) => ({ label: pane, scale: "ms", stroke: color(pane), width: 2, spanGaps: true, points: { show: true, size: 5 } })),
        { label: say("rateSeries"), scale: "rate", stroke: color("soft"), fill: color("sunk"), width: 1 },
      ],
      hooks: { draw: [(plot) => this.#mark(plot)] },
    };
    this.#plot = new uPlot(options, this.#data(), this.#place);
  }

  #draw(): void {
    const first = now() - SPAN;
    for (const seconds of this.#panes.values()) for (const at of seconds.keys()) if (at < first) seconds.delete(at);
    this.#plot?.setData(this.#data());
    this.#sum();
  }

  /** The same in words. */
  #sum(): void {
    const latest = (pane: string): string => {
      const found = [...(this.#panes.get(pane)?.values() ?? [])].flatMap(({ latencies }) => latencies).at(-1);
      return found === undefined ? "–" : `${found} ms`;
    };
    const rate = (this.#data().at(-1)?.at(-1) ?? 0) as number;
    this.#summary.textContent = say("summary", { comet: latest("comet"), chat: latest("chat"), sse: latest("sse"), rate });
  }

  #data(): uPlot.AlignedData {
    // The current second is not complete.
    const times = Array.from({ length: SPAN }, (_, at) => now() - SPAN + at);
    const latencies = [...this.#panes.values()].map((seconds) => times.map((time) => {
      const all = seconds.get(time)?.latencies ?? [];
      return all.length > 0 ? all.reduce((a, b) => a + b) / all.length : null;
    }));
    // All panes receive the same messages, unless one is disconnected.
    const rate = times.map((time) => Math.max(...[...this.#panes.values()].map((seconds) => seconds.get(time)?.count ?? 0)));
    return [times, ...latencies, rate];
  }

  /** A dashed line in the colour of the pane for a connection, a thick red one for a gap. */
  #mark(plot: uPlot): void {
    const { ctx, bbox } = plot;
    for (const [pane, seconds] of this.#panes) {
      for (const [at, { isConnected, isGap }] of seconds) {
        if (!isConnected && !isGap) continue;
        const width = Math.round((isGap ? 4 : 1) * devicePixelRatio);
        // An odd width lies on pixels, not between them.
        const x = Math.round(plot.valToPos(at, "x", true)) + (width % 2) / 2;
        if (x < bbox.left) continue;
        ctx.save();
        ctx.strokeStyle = isGap ? color("bad") : color(pane);
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
