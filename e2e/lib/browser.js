// Headless Chromium as Debian packages it, and pages that count every complaint.

import { existsSync } from "node:fs";
import path from "node:path";
import { chromium } from "playwright-core";
import { OUT } from "./stack.js";

export const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

export function executable() {
  const executablePath = process.env.CHROMIUM || ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find(existsSync);
  if (!executablePath) throw new Error("no Chromium: install it, or say where it is by CHROMIUM");
  return executablePath;
}

export function launch() {
  return chromium.launch({ executablePath: executable(), args: FLAGS });
}

export const SIZES = {
  desktop: { viewport: { width: 1280, height: 860 } },
  phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
};

/** The windows that every page has to fit. */
export const WINDOWS = { laptop: { width: 1280, height: 720 }, phone: { width: 390, height: 844 }, screen: { width: 1920, height: 1080 } };

/** A tab in a profile of its own; `page.complaints` holds errors and warnings of the console, exceptions and failed requests. */
export async function tab(browser, options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) page.complaints.push(`${message.type()}: ${message.text()} (${message.location().url})`);
  });
  page.on("pageerror", (error) => page.complaints.push(`exception: ${error.stack}`));
  page.on("requestfailed", (request) => {
    // A page that lets go of its own request does so on purpose.
    if (request.failure()?.errorText !== "net::ERR_ABORTED") page.complaints.push(`failed: ${request.url()} ${request.failure()?.errorText}`);
  });
  return page;
}

/** Whether pictures are taken: with TRIDENT_SCREENSHOTS=1. They take as long as everything else that a test does with a page. */
export const TAKES_PICTURES = process.env.TRIDENT_SCREENSHOTS === "1";

/** Takes a picture of a page for people to look at: e2e/out/`name`.png. No test reads it. */
export async function picture(page, name, options = {}) {
  if (TAKES_PICTURES) await page.screenshot({ path: path.join(OUT, `${name}.png`), ...options });
}
