import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeBackend } from "../src/bridge/fake";
import { sampleQuestion } from "../src/bridge/samples";
import { Keyboard } from "../src/keys";
import { Page } from "./page";

let page: Page;
let backend: FakeBackend;
beforeEach(async () => {
  vi.useFakeTimers();
  backend = new FakeBackend();
  page = await Page.open("#/key", backend);
  await page.ready();
});
afterEach(async () => {
  await page.close();
  vi.useRealTimers();
});

type Press = Partial<KeyboardEventInit> & { key: string };
const event = (press: Press): KeyboardEvent =>
  new KeyboardEvent("keydown", { bubbles: true, cancelable: true, ...press });
/** All but the last are held. */
async function press(...keys: Press[]): Promise<void> {
  for (const key of keys) window.dispatchEvent(event(key));
  await page.settle();
}
const CTRL = { key: "Control", code: "ControlLeft" };
const SUPER = { key: "Super", code: "MetaLeft" };
const click = async (name: string): Promise<void> => {
  page.button(name).click();
  await page.settle();
};

test("the present stop key is shown, and that it works", () => {
  expect([...document.querySelectorAll("kbd")].map((k) => k.textContent)).toEqual(["Ctrl", "Alt", "Shift", "Escape"]);
  expect(page.text).toContain("It is listened for, whatever window you are in.");
});

test("keys are taken only while one is chosen", async () => {
  await press(CTRL, { key: "k", code: "KeyK", ctrlKey: true });
  expect(backend.calls).toEqual([]);
});

test("another is pressed, heard, asked for, and its question opens", async () => {
  await click("Choose another key");
  await press(SUPER);
  expect(page.text).toContain("Super+…");
  await press({ key: "F12", code: "F12" });
  expect(backend.calls).toEqual(["try Super+F12"]);
  expect(page.text).toContain("Press it once more");
  expect(() => page.button("Use it from now on")).toThrow();
  backend.heard();
  await page.settle();
  expect(page.text).toContain("It was heard.");
  await click("Use it from now on");
  expect(backend.calls).toEqual(["try Super+F12", "use Super+F12"]);
  backend.ask(sampleQuestion({ id: "q-0000000007", request: null, summary: ["the hotkey of the stop is Super+F12"] }));
  await page.settle();
  expect(window.location.hash).toBe("#/request/q-0000000007");
});

test("what is none is refused in words, and another can be pressed at once", async () => {
  await click("Choose another key");
  await press({ key: "k", code: "KeyK" });
  expect(page.text).toContain("would fire while you type");
  await press(CTRL, { key: "k", code: "KeyK", ctrlKey: true });
  expect(backend.calls).toEqual(["try K", "try Ctrl+K"]);
  expect(page.text).toContain("Press it once more");
});

test("one that is never heard cannot be used", async () => {
  await click("Choose another key");
  await press(CTRL, { key: "k", code: "KeyK", ctrlKey: true });
  backend.heard("this keyboard has no such key");
  await page.settle();
  expect(page.text).toContain("It cannot be used: this keyboard has no such key");
  expect(() => page.button("Use it from now on")).toThrow();
  await click("Keep the present one");
  expect(backend.calls.at(-1)).toBe("forget");
});

test("where the desktop decides, it says what it made of it", async () => {
  const hotkey = { ...backend.current.hotkey, desktopDecides: true, worksAs: "Press <b>Meta</b>+X" };
  backend.current = { ...backend.current, hotkey };
  await page.close();
  page = await Page.open("#/key", backend);
  await page.ready();
  expect(document.querySelector("q")?.textContent).toBe("Press <b>Meta</b>+X");
  await click("Choose another key");
  await press(CTRL, { key: "k", code: "KeyK", ctrlKey: true });
  expect(page.text).toContain("On Wayland your desktop decides");
  expect(page.button("Use it from now on")).toBeTruthy();
});

test("whoever leaves the page no longer tries anything", async () => {
  await click("Choose another key");
  await press(CTRL, { key: "k", code: "KeyK", ctrlKey: true });
  window.location.hash = "#/";
  window.dispatchEvent(new Event("hashchange"));
  await page.settle();
  expect(backend.calls).toEqual(["try Ctrl+K", "forget"]);
});

test.each([
  [[CTRL, { key: "Escape", code: "Escape", ctrlKey: true }], "Ctrl+Escape"],
  // With Shift held, an Alt is called Meta.
  [[{ key: "Shift", code: "ShiftLeft" }, { key: "Meta", code: "AltLeft" }, { key: "A", code: "KeyA", shiftKey: true }], "Alt+Shift+A"],
  // Another layout, and what Shift makes of a digit.
  [[CTRL, { key: "л", code: "KeyK", ctrlKey: true }], "Ctrl+K"],
  [[CTRL, { key: "!", code: "Digit1", ctrlKey: true, shiftKey: true }], "Ctrl+Shift+1"],
  [[{ key: " ", code: "Space", altKey: true }], "Alt+Space"],
  [[{ key: "Pause", code: "Pause" }], "Pause"],
])("the keys %j are %s", (keys: Press[], text: string) => {
  const keyboard = new Keyboard();
  expect(keys.map((key) => keyboard.press(event(key))).at(-1)).toBe(text);
});

test("keys that are only held are no combination", () => {
  const keyboard = new Keyboard();
  for (const key of [CTRL, SUPER, { key: "CapsLock", code: "CapsLock" }, { key: "AltGraph", code: "AltRight" }]) {
    expect(keyboard.press(event(key))).toBe(null);
  }
  expect(keyboard.held).toEqual(["Ctrl", "Super"]);
  keyboard.release(event(SUPER));
  expect(keyboard.held).toEqual(["Ctrl"]);
});
