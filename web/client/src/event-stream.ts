/** One event, as WHATWG HTML's "dispatch the event" has it. */
export interface StreamEvent {
  id: string;
  event: string;
  data: string;
}

/** What is found in a stream. */
export interface Found {
  event(event: StreamEvent): void;
  /** An id without data: no event, but from now on the place to come back to. */
  place(id: string): void;
  /** How long to stay away after an end, in milliseconds. */
  retry(milliseconds: number): void;
}

/**
 * The parser of `text/event-stream` (WHATWG HTML, 9.2.6), for text that comes in pieces, cut anywhere.
 *
 * A line ends with CRLF, LF or CR. A CR at the end of a piece ends its line at once, and an LF at the beginning of the next
 * piece then ends nothing: nobody waits for a byte that may not come.
 */
export function eventStream(found: Found): (text: string) => void {
  let line = "";
  let wasReturn = false;
  let data: string[] = [];
  let [event, id, known] = ["", "", ""];

  const read = (): void => {
    if (line === "") {
      const isMoved = id !== known;
      known = id;
      if (data.length > 0) found.event({ id, event: event || "message", data: data.join("\n") });
      else if (isMoved) found.place(id);
      data = [];
      event = "";
      return;
    }
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (name === "data") data.push(value);
    else if (name === "event") event = value;
    else if (name === "id" && !value.includes("\0")) id = value;
    else if (name === "retry" && /^\d+$/.test(value)) found.retry(Number(value));
  };

  return (text) => {
    if (text === "") return;
    let from = wasReturn && text.startsWith("\n") ? 1 : 0;
    wasReturn = text.endsWith("\r");
    const ends = /\r\n|\r|\n/g;
    ends.lastIndex = from;
    for (let end = ends.exec(text); end; end = ends.exec(text)) {
      line += text.slice(from, end.index);
      read();
      line = "";
      from = ends.lastIndex;
    }
    line += text.slice(from);
  };
}
