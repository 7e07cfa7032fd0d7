// A run of TanStack AI on Trident: its chunks are the messages of a stream, so that a page which lost its connection continues, and another one
// joins the run, without a second call of the model.
//
//   toServerSentEventsResponse(chat({ … }), { durability: { adapter: onTrident(request, { url, token }) } })

import { resolveResumeRunId } from "@tanstack/ai";
import { encodeChannel, Stream } from "trident-client";

/**
 * @param {Request} request
 * @param {{ url: string, token: string | (() => string) }} server its token covers `chats/*`
 * @returns {import("@tanstack/ai").StreamDurability} offsets are numbers of chunks, from 1
 */
export function onTrident(request, server) {
  const run = resolveResumeRunId(request) ?? crypto.randomUUID();
  const stream = new Stream(`chats/${encodeChannel(run)}`, server);
  let created;
  let count = 0;

  async function* read(offset, options) {
    const after = offset === "-1" ? 0 : Number(offset);
    let at = 0;
    for await (const { items } of stream.read(options)) {
      for (const chunk of items) {
        at += 1;
        if (at > after) yield { offset: String(at), chunk };
      }
    }
  }

  return {
    resumeFrom: () => request.headers.get("Last-Event-ID") ?? new URL(request.url).searchParams.get("offset"),
    async append(chunks) {
      await (created ??= stream.create({ ttl: 3600 }));
      for (const chunk of chunks) await stream.append(chunk);
      // Pages get only what is stored.
      await stream.flush();
      return chunks.map(() => String((count += 1)));
    },
    read: (offset, signal) => read(offset, { signal }),
    close: async () => void (await stream.close()),
    async snapshot() {
      const all = [];
      try {
        for await (const entry of read("-1", { live: false })) all.push(entry);
      } catch (error) {
        if (error.code !== "stream_not_found") throw error;
      }
      return all;
    },
  };
}
