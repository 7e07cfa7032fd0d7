// The AI SDK's useChat({ resume: true }) on Trident: the answer that is being written in a chat is a stream, which a page that is
// reloaded reads from its beginning. POST /api/chat is answered by `answer`, and GET /api/chat/<id>/stream by `resume`.

import { createUIMessageStream, createUIMessageStreamResponse, UI_MESSAGE_STREAM_HEADERS } from "ai";
import { Stream } from "trident-client";

/**
 * @param {{ url: string, token: string | (() => string) }} server its token covers `answers/*`
 * @param {(writer: import("ai").UIMessageStreamWriter, messages: import("ai").UIMessage[]) => Promise<void>} write with a model, it is
 * `writer.merge(streamText({ model, … }).toUIMessageStream())`
 */
export function chats(server, write) {
  /** The answer that is being written in each chat. In an application this is in its database. */
  const active = new Map();
  const streamOf = (answer) => new Stream(`answers/${answer}`, { ...server, contentType: "text/plain; charset=utf-8" });

  return {
    /** Answers a message. Whether the page stays or not, the answer is written to its end. */
    async answer(request) {
      const { id, messages } = await request.json();
      const answer = crypto.randomUUID();
      const stream = streamOf(answer);
      await stream.create({ ttl: 3600 });
      active.set(id, answer);
      return createUIMessageStreamResponse({
        stream: createUIMessageStream({ originalMessages: messages, execute: ({ writer }) => write(writer, messages) }),
        async consumeSseStream({ stream: events }) {
          try {
            for await (const event of events) await stream.append(event);
            await stream.close();
          } catch (error) {
            console.error(`answer ${answer}:`, error);
            // The AI SDK does not wait for this. It ends the pages that read; a new Stream, as the other sends nothing more.
            await streamOf(answer).delete().catch(() => {});
          } finally {
            if (active.get(id) === answer) active.delete(id);
          }
        },
      });
    },
    /** What is being written in a chat: from the beginning, and then as it comes. */
    async resume(id) {
      const answer = active.get(id);
      return answer ? new Response(bytesOf(streamOf(answer)), { headers: UI_MESSAGE_STREAM_HEADERS }) : new Response(null, { status: 204 });
    },
  };
}

/** What is in a stream, until it ends or the page leaves. */
function bytesOf(stream) {
  const left = new AbortController();
  const chunks = stream.read({ signal: left.signal });
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await chunks.next();
      return done ? controller.close() : controller.enqueue(value.items.join(""));
    },
    cancel: () => left.abort(),
  }).pipeThrough(new TextEncoderStream());
}
