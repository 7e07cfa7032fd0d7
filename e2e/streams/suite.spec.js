// The public conformance tests of Durable Streams, for vitest: conformance.test.js starts a server and runs them.

import { runConformanceTests } from "@durable-streams/server-conformance-tests";

runConformanceTests({ baseUrl: process.env.CONFORMANCE_TEST_URL });
