// Starts a server for the tests of the Python client, in place of the script of this name that they have.

import { startService } from "../../lib/stack.js";

const server = await startService("standalone", { TRIDENT_STREAMS_ANONYMOUS: "on", TRIDENT_DEMO: "off" });
process.on("SIGTERM", async () => {
  await server.stop();
  process.exit();
});
console.log(`SERVER_URL=${server.base}/streams`);
