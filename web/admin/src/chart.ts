import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { currentLanguage, inEveryLanguage, say, type Word } from "./text.js";

const HEIGHT = 180;
/** How long values are shown, in seconds. */
export const SPAN = 300;

const color = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Lines over the last minutes, from when the page was opened. */
export class Chart {
  #times: number[] = [];
  #values: (number | null)[][];
  #plot: uPlot | undefined;
  #place: HTMLElement;
  #series: readonly { word: Word; color: string }[];

  constructor(place: HTMLElement, series: readonly { word: Word; color: string }[]) {
    this.#place = place;
    this.#series = series;
    this.#values = series.map(() => []);
    inEveryLanguage(() => this.#begin());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#begin());
    new ResizeObserver(() => this.#plot?.setSize({ width: place.clientWidth, height: HEIGHT })).observe(place);
  }

  /** Adds a value of each line, for now; `null` if it is not known. */
  add(values: readonly (number | null)[]): void {
    const now = Date.now() / 1_000;
    this.#times.push(now);
    values.forEach((value, at) => this.#values[at]?.push(value));
    while ((this.#times[0] as number) < now - SPAN) {
      this.#times.shift();
      for (const line of this.#values) line.shift();
    }
    this.#plot?.setData(this.#data());
  }

  #data(): uPlot.AlignedData {
    return [this.#times, ...this.#values] as uPlot.AlignedData;
  }

  /** Draws it again, in another language or other colours. */
  #begin(): void {
    this.#plot?.destroy();
    const axis = { stroke: color("soft"), grid: { stroke: color("line"), width: 1 }, ticks: { stroke: color("line") } };
    const clock = new Intl.DateTimeFormat(currentLanguage(), { timeStyle: "medium" });
    const options: uPlot.Options = {
      width: this.#place.clientWidth || 500,
      height: HEIGHT,
      cursor: { show: false },
      legend: { show: false },
      scales: {
        x: { range: () => [Date.now() / 1_000 - SPAN, Date.now() / 1_000] },
        y: { range: (_, __, most) => [0, Math.max(4, (most ?? 0) * 1.2)] },
      },
      axes: [{ ...axis, values: (_, seconds) => seconds.map((second) => clock.format(second * 1_000)), space: 110 }, { ...axis, size: 56 }],
      series: [
        {},
        ...this.#series.map(({ word, color: name }) => ({ label: say(word), stroke: color(name), width: 2, points: { show: false } })),
      ],
    };
    this.#plot = new uPlot(options, this.#data(), this.#place);
  }
}
