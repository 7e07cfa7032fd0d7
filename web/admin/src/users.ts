/** Disconnecting users, and revoking tokens. */
import { ask } from "./api.js";
import { isConfirmed } from "./dialogs.js";
import { part } from "./dom.js";
import { time } from "./format.js";
import { act } from "./problem.js";
import { say } from "./text.js";
import type { View } from "./view.js";

export class Users implements View {
  readonly section = part("users");
  readonly every = 60_000;

  constructor() {
    const value = (id: string): string => part<HTMLInputElement>(id).value;
    part("end").addEventListener("submit", async (submission) => {
      submission.preventDefault();
      const user = value("end-user");
      if (!(await isConfirmed("confirm.user", { user }))) return;
      await act(part("ended"), async () => {
        const { ended } = await ask<{ ended: number }>("DELETE", `users/${encodeURIComponent(user)}/connections`, { for: value("end-for") });
        return say("ended", { n: ended });
      });
    });
    part("revoke").addEventListener("submit", async (submission) => {
      submission.preventDefault();
      const [kind, of] = [value("revoke-kind"), value("revoke-value")];
      if (!(await isConfirmed("confirm.revoke", { of }))) return;
      await act(part("revoked"), async () => {
        const { ended, expires } = await ask<{ ended: number; expires: number }>("POST", "revocations", {}, { [kind]: of });
        return say("revoked", { n: ended, time: time(expires * 1_000) });
      });
    });
  }

  refresh(): Promise<void> {
    return Promise.resolve();
  }
}
