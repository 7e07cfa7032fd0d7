import { ask, pieces } from "../http.js";
import type { Transport } from "../transport.js";

/** Comet's stream: a line of JSON for each message, and an empty one as keep-alive. */
export const stream: Transport = async (wanted, sink, signal) => {
  const query = { since: wanted.since, mode: "stream", format: "batch" };
  const response = await ask(wanted, "data", query, "application/x-ndjson", signal);
  const place = /\d+-\d+/.exec(response.headers.get("ETag") ?? "");
  let line = "";
  return pieces(response, sink, (text) => {
    sink.opened();
    // Not before: a head whose body is held back is not yet a stream.
    if (place) sink.place(place[0]);
    const lines = text.split("\n");
    lines[0] = line + lines[0];
    line = lines.pop() ?? "";
    for (const whole of lines) {
      if (whole === "") continue;
      const value = JSON.parse(whole);
      if (value.gap) sink.gap(value.gap);
      else if (value.end) sink.end(value.end);
      else sink.message(value);
    }
  });
};
