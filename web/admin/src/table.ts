import { element, setPlain } from "./dom.js";
import { inEveryLanguage, say, type Word } from "./text.js";

/** A column: a text that follows its row, or an element that is made once for each row. */
export interface Column<Row> {
  title: Word;
  text?: (row: Row) => string;
  make?: (row: Row) => HTMLElement;
  /** The text is a pill in this state. */
  state?: (row: Row) => string;
  className?: string;
}

/** A table whose rows stay where they are, with their focus, when it is shown again. */
export class Table<Row> {
  #body = document.createElement("tbody");
  #head = document.createElement("thead");
  #caption: HTMLElement;
  #columns: readonly Column<Row>[];
  #key: (row: Row) => string;
  #rows: readonly Row[] = [];
  #lines = new Map<string, HTMLElement>();

  /** `empty` is said when there are no rows. */
  constructor(table: HTMLElement, columns: readonly Column<Row>[], key: (row: Row) => string, empty: Word) {
    this.#columns = columns;
    this.#key = key;
    this.#caption = element("caption");
    table.append(this.#caption, this.#head, this.#body);
    inEveryLanguage(() => {
      const line = document.createElement("tr");
      for (const { title, className } of columns) {
        const cell = element("th", say(title), className);
        cell.setAttribute("scope", "col");
        line.append(cell);
      }
      this.#head.replaceChildren(line);
      this.#caption.textContent = say(empty);
      this.#lines.clear();
      this.#body.replaceChildren();
      this.show(this.#rows);
    });
  }

  show(rows: readonly Row[]): void {
    this.#rows = rows;
    this.#caption.hidden = rows.length > 0;
    this.#head.hidden = rows.length === 0;
    const wanted = new Set(rows.map(this.#key));
    for (const [key, line] of this.#lines) {
      if (wanted.has(key)) continue;
      line.remove();
      this.#lines.delete(key);
    }
    rows.forEach((row, at) => {
      const line = this.#lines.get(this.#key(row)) ?? this.#make(row);
      this.#columns.forEach(({ text, state }, at) => {
        const cell = line.children[at] as HTMLElement;
        const place = state ? (cell.firstElementChild as HTMLElement) : cell;
        if (text) setPlain(place, text(row));
        if (state) place.dataset.state = state(row);
      });
      if (this.#body.children[at] !== line) this.#body.insertBefore(line, this.#body.children[at] ?? null);
    });
  }

  #make(row: Row): HTMLElement {
    const line = document.createElement("tr");
    for (const { title, make, className, state } of this.#columns) {
      const cell = element("td", "", className);
      cell.dataset.title = say(title);
      if (make) cell.append(make(row));
      if (state) cell.append(element("span", "", "pill"));
      line.append(cell);
    }
    this.#lines.set(this.#key(row), line);
    return line;
  }
}
