/** Keys by what a page calls them; letters, digits and F1 … are by themselves. */
const NAMES: Readonly<Record<string, string>> = {
  Escape: "Escape",
  Pause: "Pause",
  Delete: "Delete",
  Backspace: "Backspace",
  Insert: "Insert",
  Home: "Home",
  End: "End",
  PageUp: "PageUp",
  PageDown: "PageDown",
  " ": "Space",
  Enter: "Enter",
  Tab: "Tab",
  PrintScreen: "PrintScreen",
  ScrollLock: "ScrollLock",
};
/** Keys that are only held, by where they are: what they are called changes with
 * what else is held (Shift makes an Alt a Meta). */
const HELD: Readonly<Record<string, string>> = {
  ControlLeft: "Ctrl",
  ControlRight: "Ctrl",
  AltLeft: "Alt",
  AltRight: "Alt",
  ShiftLeft: "Shift",
  ShiftRight: "Shift",
  MetaLeft: "Super",
  MetaRight: "Super",
  OSLeft: "Super",
  OSRight: "Super",
};
const ORDER = ["Ctrl", "Alt", "Shift", "Super"];

/** Follows what is held, and says what was pressed. It judges nothing: whether
 * that can be a stop key is decided in Rust. */
export class Keyboard {
  #down = new Set<string>();

  /** What is held now, as it is written before a key. */
  get held(): string[] {
    const names = new Set([...this.#down].map((code) => HELD[code]));
    return ORDER.filter((name) => names.has(name));
  }
  /** The combination, once a key completes it. */
  press(event: KeyboardEvent): string | null {
    if (event.code in HELD && event.key !== "AltGraph") {
      this.#down.add(event.code);
      return null;
    }
    const key = nameOf(event);
    if (key === null) return null;
    const held = new Set(this.held);
    if (event.ctrlKey) held.add("Ctrl");
    if (event.altKey) held.add("Alt");
    if (event.shiftKey) held.add("Shift");
    return [...ORDER.filter((name) => held.has(name)), key].join("+");
  }
  release(event: KeyboardEvent): void {
    this.#down.delete(event.code);
  }
  /** Whoever held them may have let go where we hear nothing of it. */
  forget(): void {
    this.#down.clear();
  }
}

function nameOf({ key, code }: KeyboardEvent): string | null {
  if (/^[a-z0-9]$/i.test(key)) return key.toUpperCase();
  if (/^F\d+$/.test(key)) return key;
  if (key in NAMES) return NAMES[key] ?? null;
  // Another layout's letter, or what Shift makes of a digit.
  const [, plain] = /^(?:Key|Digit)([A-Z0-9])$/.exec(code) ?? [];
  if (plain) return plain;
  return ["AltGraph", "CapsLock", "NumLock", "Dead", "Process", "Unidentified"].includes(key) ? null : key;
}
