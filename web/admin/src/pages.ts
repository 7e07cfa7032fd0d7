/** The first pages of a list that is too long for one answer. */
import type { Whole } from "./types.js";
import { showNote } from "./dom.js";
import { say } from "./text.js";

const PAGE = 100;
const MOST = 1_000;

interface Page<Row> extends Whole {
  rows: Row[];
  next?: string | undefined;
}

export class Pages<Row> {
  #request: (after: string | undefined, limit: number) => Promise<Page<Row>>;
  #show: (rows: readonly Row[]) => void;
  #more: HTMLElement;
  #incomplete: HTMLElement | undefined;
  #rows: Row[] = [];
  #next: string | undefined;
  /** Counts what was asked for: an answer for another search is too late. */
  #asked = 0;
  /** The number of an extension in progress: what is requested meanwhile would be without the added page. */
  #extending: number | undefined;

  /** `more` is the button for the next page, and `incomplete` the place to name processes that did not answer. */
  constructor(request: (after: string | undefined, limit: number) => Promise<Page<Row>>, show: (rows: readonly Row[]) => void, more: HTMLElement, incomplete?: HTMLElement) {
    this.#request = request;
    this.#show = show;
    this.#more = more;
    this.#incomplete = incomplete;
  }

  /** Forgets the list: the next one is another. */
  clear(): void {
    this.#asked += 1;
    this.#take({ rows: [] }, []);
  }

  /** Requests again what is shown. A list longer than the longest page stays as it is. */
  async refresh(): Promise<void> {
    if (this.#rows.length > MOST || this.#extending === this.#asked) return;
    const asked = this.#asked;
    const page = await this.#request(undefined, Math.max(PAGE, this.#rows.length));
    if (asked === this.#asked) this.#take(page, page.rows);
  }

  /** Requests the next page, too. */
  async extend(): Promise<void> {
    const asked = (this.#asked += 1);
    this.#extending = asked;
    try {
      const page = await this.#request(this.#next, PAGE);
      if (asked === this.#asked) this.#take(page, [...this.#rows, ...page.rows]);
    } finally {
      if (asked === this.#extending) this.#extending = undefined;
    }
  }

  #take(page: Page<Row>, rows: Row[]): void {
    [this.#rows, this.#next] = [rows, page.next];
    this.#show(rows);
    this.#more.hidden = page.next === undefined;
    const names = (page.incomplete ?? []).join(", ");
    if (this.#incomplete) showNote(this.#incomplete, names && say("incomplete", { names }));
  }
}
