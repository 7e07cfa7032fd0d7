// The three demos, as pages of somebody else's would use a server: in Chromium, with browser code alone.

import assert from "node:assert/strict";
import { tab } from "./browser.js";

/** Uses each demo of the server at `base` once. The page is its own, so that no other origin is involved. */
export async function demos(browser, base) {
  const page = await tab(browser);
  try {
    await page.goto(`${base}/`, { waitUntil: "domcontentloaded" });
    const { code } = await page.evaluate(() => fetch("/data").then((response) => response.json()));
    assert.equal(typeof code, "number", "polling /data gives a random number");
    const time = await page.evaluate(
      () =>
        new Promise((resolve, reject) => {
          const source = new EventSource("/events");
          source.onmessage = ({ data }) => {
            source.close();
            resolve(data);
          };
          source.onerror = () => reject(new Error("the event stream failed"));
        }),
    );
    assert.match(time, /^时间:\d+$/);
    const said = await page.evaluate(
      () =>
        new Promise((resolve, reject) => {
          const script = document.createElement("script");
          script.src = "/socket.io/socket.io.js";
          script.onerror = () => reject(new Error("the server has no Socket.IO client"));
          script.onload = () => {
            const socket = window.io();
            socket.on("connect_error", reject);
            socket.on("chat message", (text) => {
              socket.close();
              resolve(text);
            });
            socket.on("connect", () => socket.emit("chat message", "hello"));
          };
          document.head.append(script);
        }),
    );
    assert.equal(said, "hello");
  } finally {
    await page.context().close();
  }
}
