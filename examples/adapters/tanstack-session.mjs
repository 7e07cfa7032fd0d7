// A chat of TanStack AI that is a stream of Trident, by @durable-streams/tanstack-ai-transport: what people and models write is in it, and every
// page of the chat reads it, from its beginning or from where it lost its connection. A page uses this connection:
//
//   durableStreamConnection({ sendUrl: `/api/chat?id=${id}`, readUrl: `${url}/streams/chats/${id}`, headers: { Authorization: `Bearer ${token}` } })

import { toDurableChatSessionResponse } from "@durable-streams/tanstack-ai-transport";
import { encodeChannel } from "trident-client";

/**
 * Answers POST /api/chat?id=<id>. Whether the page stays or not, the answer is written to its end.
 *
 * @param {Request} request
 * @param {{ url: string, token: () => string }} server its token may publish to `chats/*`
 * @param {(messages: import("@tanstack/ai").UIMessage[]) => AsyncIterable<import("@tanstack/ai").StreamChunk>} answer with a model, it is
 * `chat({ adapter, messages })`
 */
export async function send(request, server, answer) {
  const id = new URL(request.url).searchParams.get("id");
  const { messages } = await request.json();
  return toDurableChatSessionResponse({
    stream: { writeUrl: `${server.url}/streams/chats/${encodeChannel(id)}`, headers: { Authorization: () => `Bearer ${server.token()}` } },
    newMessages: messages.slice(-1),
    responseStream: answer(messages),
  });
}
