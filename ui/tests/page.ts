// Mounts the whole page over the fake side, with a clock that the test moves.
import { flushSync, mount, unmount } from "svelte";
import { vi } from "vitest";
import App from "../src/App.svelte";
import { FakeBackend } from "../src/bridge/fake";
import { Desk, GUARD_MS } from "../src/desk.svelte";

export class Page {
  private constructor(
    readonly backend: FakeBackend,
    readonly desk: Desk,
    private readonly app: Record<string, never>,
  ) {}

  static async open(hash: string, backend: FakeBackend): Promise<Page> {
    window.location.hash = hash;
    window.dispatchEvent(new Event("hashchange"));
    const desk = new Desk(backend);
    await desk.connect();
    const app = mount(App, { target: document.body, props: { desk } });
    const page = new Page(backend, desk, app);
    await page.settle();
    return page;
  }
  async close(): Promise<void> {
    this.desk.disconnect();
    await unmount(this.app);
    document.body.innerHTML = "";
  }
  /** Lets promises and effects run; no time passes. */
  async settle(): Promise<void> {
    await this.pass(0);
  }
  /** Lets time pass. */
  async pass(ms: number): Promise<void> {
    flushSync();
    await vi.advanceTimersByTimeAsync(ms);
    flushSync();
  }
  /** Until the window takes keys and clicks. */
  async ready(): Promise<void> {
    await this.pass(GUARD_MS + 1);
  }
  get text(): string {
    return document.body.textContent.replace(/\s+/g, " ");
  }
  button(name: string): HTMLButtonElement {
    const found = [...document.querySelectorAll("button")].find((b) =>
      (b.getAttribute("aria-label") ?? b.textContent).includes(name),
    );
    if (!found) throw new Error(`no button ${name}`);
    return found;
  }
  async key(type: "keydown" | "keyup", key: string, on: EventTarget = window): Promise<void> {
    on.dispatchEvent(new KeyboardEvent(type, { key, bubbles: true, cancelable: true }));
    await this.settle();
  }
  async pointer(type: string, on: Element): Promise<void> {
    on.dispatchEvent(new PointerEvent(type, { button: 0, isPrimary: true, bubbles: true }));
    await this.settle();
  }
  async choose(label: string, value: string): Promise<void> {
    const select = document.querySelector<HTMLSelectElement>(`select[aria-label="${label}"]`);
    if (!select) throw new Error(`no choice ${label}`);
    select.value = value;
    select.dispatchEvent(new Event("change", { bubbles: true }));
    await this.settle();
  }
}
