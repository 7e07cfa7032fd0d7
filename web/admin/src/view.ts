/** A part of the page, shown for an address such as `#channels`. */
export interface View {
  readonly section: HTMLElement;
  /** How often it is refreshed while it is shown, in milliseconds. */
  readonly every: number;
  /** Shows what `rest` of the address names. */
  open?(rest: readonly string[]): void;
  /** It is not shown any more. */
  close?(): void;
  /** Requests what it shows. A rejection is shown to the user. */
  refresh(): Promise<void>;
}
