/** The page for administration. It needs a token with `trident.api`, and shows what `/v1` answers. */
import "./style.css";
import { ask, Problem } from "./api.js";
import { OneChannel } from "./channel.js";
import { ChannelList } from "./channels.js";
import { ConnectionList } from "./connections.js";
import { closeDialogs } from "./dialogs.js";
import { part } from "./dom.js";
import { Overview } from "./overview.js";
import { attempt, showProblem, whenTokenIsRejected } from "./problem.js";
import { currentToken, forgetToken, keepToken, mayWrite } from "./session.js";
import { startPage } from "./text.js";
import { Users } from "./users.js";
import type { View } from "./view.js";

startPage();

const views: { [name: string]: View } = {
  overview: new Overview(),
  channels: new ChannelList(),
  channel: new OneChannel(),
  connections: new ConnectionList(),
  users: new Users(),
};
const signIn = part("sign-in");
let shown: View | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;

/** Refreshes what is shown, as long as it is. A page in the background waits. */
function keepFresh(view: View): void {
  clearTimeout(timer);
  const again = async (): Promise<void> => {
    if (!document.hidden) await attempt(() => view.refresh());
    if (view !== shown) return;
    clearTimeout(timer);
    timer = setTimeout(again, view.every);
  };
  void again();
}

/** Shows what the address names: `#channel/<name>`. */
function show(): void {
  shown?.close?.();
  const [name = "", ...rest] = location.hash.slice(1).split("/").map(decode);
  const place = Object.hasOwn(views, name) ? name : "overview";
  const view = views[place] as View;
  shown = view;
  for (const other of Object.values(views)) other.section.hidden = other !== view;
  for (const link of part("sections").querySelectorAll("a")) {
    const isHere = link.hash === `#${place === "channel" ? "channels" : place}`;
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  scrollTo(0, 0);
  view.open?.(rest);
  keepFresh(view);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function setSignedIn(isSignedIn: boolean): void {
  signIn.hidden = isSignedIn;
  part("sections").hidden = !isSignedIn;
  part("sign-out").hidden = !isSignedIn;
}

function enter(): void {
  setSignedIn(true);
  // The style sheet hides what this token may not do.
  document.body.dataset.right = mayWrite() ? "write" : "read";
  show();
}

function leave(): void {
  shown?.close?.();
  shown = undefined;
  clearTimeout(timer);
  forgetToken();
  closeDialogs();
  for (const view of Object.values(views)) view.section.hidden = true;
  setSignedIn(false);
  part("token").focus();
}

whenTokenIsRejected((problem) => {
  leave();
  showProblem(problem);
});
part("sign-in-form").addEventListener("submit", async (submission) => {
  submission.preventDefault();
  const field = part<HTMLInputElement>("token");
  keepToken(field.value.trim());
  const isAccepted = await attempt(async () => {
    if (!/^[\x21-\x7e]+$/.test(currentToken())) throw new Problem(401, "bad_token", "");
    await ask("GET", "stats");
  });
  if (!isAccepted) return forgetToken();
  field.value = "";
  enter();
});
part("sign-out").addEventListener("click", () => location.reload());
part("sign-out").addEventListener("click", forgetToken, { capture: true });
addEventListener("hashchange", () => {
  if (!shown || location.hash === "#main") return;
  // A question is about what was shown.
  closeDialogs();
  show();
});
document.addEventListener("visibilitychange", () => {
  if (shown && !document.hidden) keepFresh(shown);
});

if (currentToken()) enter();
else leave();
