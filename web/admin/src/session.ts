/** The token of this tab. It is in memory and in the storage of the tab, which ends with it, and never in an address. */
const STORED = "trident-admin-token";

const storage = {
  get: (): string | null => { try { return sessionStorage.getItem(STORED); } catch { return null; } },
  set: (token: string): void => { try { sessionStorage.setItem(STORED, token); } catch { /* only in memory */ } },
  remove: (): void => { try { sessionStorage.removeItem(STORED); } catch { /* it was not there */ } },
};

let token = storage.get() ?? "";

export const currentToken = (): string => token;

export function keepToken(given: string): void {
  token = given;
  storage.set(given);
}

export function forgetToken(): void {
  token = "";
  storage.remove();
}

/** Whether the token says that it may write. The server alone decides; this is for the buttons. */
export function mayWrite(): boolean {
  try {
    const [, body = ""] = token.split(".");
    const { trident } = JSON.parse(atob(body.replaceAll("-", "+").replaceAll("_", "/")));
    return Array.isArray(trident?.api) && trident.api.includes("write");
  } catch {
    return false;
  }
}
