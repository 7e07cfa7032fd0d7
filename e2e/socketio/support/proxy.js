// A TCP proxy that can do what networks do: cut everything, refuse everybody, go silent.

import { connect, createServer } from "node:net";

/** Starts one in front of `server`. */
export async function proxy(server) {
  const pairs = new Set();
  let refusing = false;

  const listener = createServer((near) => {
    if (refusing) return near.resetAndDestroy();
    const far = connect(server.port, server.host);
    const pair = { near, far };
    pairs.add(pair);
    for (const end of [near, far]) {
      end.setNoDelay(true);
      end.on("error", () => {});
      end.on("close", () => {
        near.destroy();
        far.destroy();
        pairs.delete(pair);
      });
    }
    near.pipe(far);
    far.pipe(near);
  });
  await new Promise((done) => listener.listen(0, "127.0.0.1", done));

  return {
    url: `http://127.0.0.1:${listener.address().port}`,
    /** Ends all connections, both ends at once, whatever is on the way in them. */
    cut() {
      const count = pairs.size;
      for (const { near, far } of pairs) {
        near.resetAndDestroy();
        far.resetAndDestroy();
      }
      return count;
    },
    /** Ends the client's side of all connections; the server hears nothing, as when a phone leaves its network. */
    abandon() {
      for (const { near, far } of pairs) {
        near.unpipe();
        far.unpipe();
        far.pause();
        near.removeAllListeners("close");
        near.resetAndDestroy();
      }
    },
    refuse(yes) {
      refusing = yes;
    },
    async stop() {
      this.cut();
      await new Promise((done) => listener.close(done));
    },
  };
}
