/** The element with this id, which the page has. */
export const part = <Kind extends HTMLElement = HTMLElement>(id: string): Kind => document.getElementById(id) as Kind;

/** An element with a text. What the server sends becomes text, and never markup. */
export function element(name: string, text = "", className = ""): HTMLElement {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

/** Sets a text, unless it is the same: screen readers do not repeat it then. */
export function setPlain(place: Element, text: string): void {
  if (place.textContent !== text) place.textContent = text;
}

/** Shows a line, or hides it without a text. */
export function showNote(place: HTMLElement, text: string): void {
  setPlain(place, text);
  place.hidden = text === "";
}

/** Pairs of a title and a value. */
export function showTiles(list: HTMLElement, tiles: readonly (readonly [title: string, value: string])[]): void {
  tiles.forEach(([title, value], at) => {
    let tile = list.children[at];
    if (!tile) {
      tile = document.createElement("div");
      tile.append(element("dt"), element("dd"));
      list.append(tile);
    }
    setPlain(tile.children[0] as Element, title);
    setPlain(tile.children[1] as Element, value);
  });
}
