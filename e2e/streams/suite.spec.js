// The public conformance tests of Durable Streams, for vitest: conformance.test.js starts a server and runs them.

import { runConformanceTests } from "@durable-streams/server-conformance-tests";
import { afterEach } from "vitest";

const control = process.env.CONFORMANCE_CONTROL_URL;
if (control) {
  // The server may be killed now, and is there again when this is answered.
  afterEach(async () => {
    const answer = await fetch(control);
    if (!answer.ok) throw new Error(await answer.text());
  }, 30_000);
}

runConformanceTests({ baseUrl: process.env.CONFORMANCE_TEST_URL, subscriptions: true });
