// A TCP proxy for one client that breaks messages off after a given number of bytes, each of a kind:
//
//   "connection"  one direction of a connection that becomes a WebSocket, from its first byte, the head of the upgrade, to its end
//   "handshake"   one HTTP message of a GET without a session
//   "poll"        one of a GET with a session
//   "post"        one of a POST

import { connect, createServer } from "node:net";

/** In a list of targets: what comes after it is cut when the client says that it has entered. */
export const ENTERED = "entered";

/** What becomes of a connection that is cut. With "abandon" the server does not notice it. */
const MODES = ["reset", "abandon", "end"];

/** Splits one direction of an HTTP/1.1 connection into its messages. */
class Messages {
  #head = Buffer.alloc(0);
  #kind;
  #at = 0;
  #left = 0;

  /** `start(head)` returns the kind of the message with this head, and whether the rest of the connection belongs to it. */
  constructor(start) {
    this.start = start;
  }

  /** The next pieces of messages: `{kind, from, bytes, isLast}`, where `from` is the place in the message. */
  *split(bytes) {
    let rest = bytes;
    while (rest.length > 0) {
      if (this.#kind === undefined) {
        rest = Buffer.concat([this.#head, rest]);
        const end = rest.indexOf("\r\n\r\n");
        if (end === -1) {
          this.#head = rest;
          return;
        }
        this.#head = Buffer.alloc(0);
        const head = rest.toString("latin1", 0, end);
        const { kind, isWhole } = this.start(head);
        this.#kind = kind;
        this.#at = 0;
        this.#left = isWhole ? Infinity : end + 4 + bodyLength(head);
      }
      const piece = rest.subarray(0, Math.min(rest.length, this.#left));
      rest = rest.subarray(piece.length);
      const [kind, from] = [this.#kind, this.#at];
      this.#at += piece.length;
      this.#left -= piece.length;
      if (this.#left === 0) this.#kind = undefined;
      yield { kind, from, bytes: piece, isLast: this.#left === 0 };
    }
  }
}

function bodyLength(head) {
  if (/^transfer-encoding:/im.test(head)) throw new Error(`a chunked body: ${head}`);
  return Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
}

/** Of which kind a request is, and with it its response. */
function kindOf(head) {
  if (/^upgrade: *websocket/im.test(head)) return "connection";
  if (head.startsWith("POST ")) return "post";
  return /[?&]sid=/.test(head.split("\r\n", 1)[0]) ? "poll" : "handshake";
}

/**
 * Starts a proxy in front of `server`, `{port, host?}`, that cuts one message of each kind in `targets`, in that order, after `offset`
 * bytes, or at once if more of it has passed already. A shorter message passes whole: of a kind whose messages vary in length, a longer
 * one is waited for; otherwise the target is left out. `upload` cuts what the client sends instead of what the server sends. After each
 * cut new connections wait for the promise that `onCut` returns. `first` chooses how the first connection is cut.
 */
export async function cutter(server, { offset, targets, upload = false, first = 0, onCut = async () => {} }) {
  // Other kinds of messages are of about one length each.
  const varies = upload ? "post" : "poll";
  const left = [...targets];
  const cuts = [];
  const ends = new Set();
  let gate = Promise.resolve();
  let problem;

  const close = (end) => (end.writableEnded ? end.destroy() : end.resetAndDestroy());

  /** Ends a connection when `to` has got the last bytes of it that it is to get. */
  function cut(near, far, to, bytes, piece) {
    const mode = MODES[(first + cuts.length) % MODES.length];
    cuts.push(`${piece.kind}, ${mode}`);
    left.shift();
    gate = Promise.resolve(onCut()).catch((error) => (problem ??= error));
    for (const end of [near, far]) end.removeAllListeners("data").on("data", () => {});
    const finish = () => {
      if (mode === "end") {
        near.end();
        far.end();
      } else {
        close(near);
        if (mode === "reset") close(far);
      }
    };
    if (mode === "abandon") near.removeAllListeners("close");
    if (bytes.length > 0 && !to.destroyed) to.write(bytes, finish);
    else finish();
  }

  /** Passes on what came from one end to the other, up to the place of a cut. */
  function pass(near, far, to, messages, isCutHere) {
    return (bytes) => {
      try {
        for (const piece of messages.split(bytes)) {
          const isTarget = isCutHere && piece.kind === left[0];
          if (isTarget && piece.from + piece.bytes.length > offset) {
            return cut(near, far, to, piece.bytes.subarray(0, Math.max(0, offset - piece.from)), piece);
          }
          to.write(piece.bytes);
          if (isTarget && piece.isLast && piece.kind !== varies) left.shift();
        }
      } catch (error) {
        problem ??= error;
        near.destroy();
      }
      return undefined;
    };
  }

  const listener = createServer(async (near) => {
    ends.add(near);
    near.on("error", () => {}).on("close", () => ends.delete(near));
    near.pause();
    await gate;
    if (near.destroyed) return;
    const far = connect({ port: server.port, host: server.host ?? "127.0.0.1" });
    ends.add(far);
    far.on("error", () => {}).on("close", () => ends.delete(far));
    near.setNoDelay(true);
    far.setNoDelay(true);
    near.on("close", () => far.destroy());
    far.on("close", () => near.end());
    const kinds = [];
    const requests = new Messages((head) => {
      const kind = kindOf(head);
      kinds.push(kind);
      return { kind, isWhole: kind === "connection" };
    });
    const responses = new Messages((head) => {
      const kind = kinds.shift();
      return { kind, isWhole: kind === "connection" };
    });
    near.on("data", pass(near, far, far, requests, upload));
    far.on("data", pass(near, far, near, responses, !upload));
    near.resume();
  });
  await new Promise((done) => listener.listen(0, "127.0.0.1", done));
  const { port } = listener.address();

  return {
    url: `http://127.0.0.1:${port}`,
    /** What has been cut, in order. */
    cuts,
    /** The kinds that are still to be cut. */
    left,
    entered() {
      if (left[0] === ENTERED) left.shift();
    },
    /** What went wrong in the proxy itself. */
    problem: () => problem,
    async stop() {
      ends.forEach((end) => end.destroy());
      await new Promise((done) => listener.close(done));
    },
  };
}
