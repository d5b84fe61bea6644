import { mount } from "svelte";
import App from "./App.svelte";
import "./app.css";
import type { Backend } from "./bridge/backend";
import { Desk } from "./desk.svelte";

/** Inside the program the Rust side answers; in a plain browser, the fake one. */
async function backend(): Promise<Backend> {
  if ("__TAURI_INTERNALS__" in window) {
    const { TauriBackend } = await import("./bridge/tauri");
    return new TauriBackend();
  }
  const { FakeBackend } = await import("./bridge/fake");
  return FakeBackend.withSamples();
}

const target = document.getElementById("app");
if (target) {
  const desk = new Desk(await backend());
  await desk.connect();
  mount(App, { target, props: { desk } });
}
