export type Words = { readonly [name: string]: string };

export const memory: { get(key: string): string | null; set(key: string, value: string): void };
export function addWords(added: { readonly en: Words; readonly zh: Words }): void;
export function currentLanguage(): string;
export function isWord(name: string): boolean;
export function say(word: string, values?: { [name: string]: string | number }): string;
/** A text, or texts and nodes. */
export type Content = string | readonly (string | Node)[];
export function apart(values: string | readonly string[]): (string | Node)[];
export function sayApart(word: string, values?: { [name: string]: string | number | readonly string[] }): (string | Node)[];
export function put(element: Element, what: Content): void;
export function inEveryLanguage(show: () => void): void;
export function setText(element: Element, text: () => Content): void;
export function translate(root: ParentNode): void;
export function startPage(): void;
export function copy(source: Element, button: Element): Promise<void>;
export function isReachable(path: string): Promise<boolean>;
