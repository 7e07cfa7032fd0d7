// The reference server of Durable Streams, for comparison: streams in memory, no compression. It knows no signals.
import { DurableStreamTestServer } from "@durable-streams/server";

const [host, port] = process.argv[2].split(":");
const server = new DurableStreamTestServer({ host, port: Number(port), compression: false });
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => process.exit(0));
await server.start();
