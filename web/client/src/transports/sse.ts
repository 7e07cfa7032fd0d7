import { eventStream } from "../event-stream.js";
import { ask, pieces } from "../http.js";
import type { Transport } from "../transport.js";

/** Server-sent events, read from a response as it comes in: unlike `EventSource` it sends a token and sees refusals. */
export const sse: Transport = async (wanted, sink, signal) => {
  const query = { since: wanted.since, format: "message" };
  const response = await ask(wanted, "events", query, "text/event-stream", signal);
  const read = eventStream({
    event: ({ id, event, data }) => {
      const value = JSON.parse(data);
      if (event === "gap") sink.gap(value);
      else if (event === "end") {
        sink.end(value);
        sink.place(id);
      } else sink.message(value);
    },
    place: sink.place,
    retry: sink.retry,
  });
  return pieces(response, sink, (text) => {
    sink.opened();
    read(text);
  });
};
