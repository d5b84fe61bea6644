import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeBackend } from "../src/bridge/fake";
import { sampleRow, sampleRun } from "../src/bridge/samples";
import { matches, merge, EVERYTHING } from "../src/filter";
import { bytes, span } from "../src/format";
import { parse } from "../src/route.svelte";
import { Page } from "./page";

let page: Page | undefined;
beforeEach(() => void vi.useFakeTimers());
afterEach(async () => {
  await page?.close();
  page = undefined;
  vi.useRealTimers();
});
const rows = (): string[] =>
  [...document.querySelectorAll("tbody tr")].map((tr) => tr.textContent.replace(/\s+/g, " "));

test("what waits is listed, and each line leads to its own view", async () => {
  page = await Page.open("#/", FakeBackend.withSamples());
  const links = [...document.querySelectorAll(".questions a")];
  expect(links.map((a) => a.getAttribute("href"))).toContain("#/request/q-0000000002");
  expect(page.text).toContain("Waiting for you (3)");
  expect([...document.querySelectorAll(".questions button")]).toEqual([]); // no answer without reading
});

test("an empty desk says that nothing waits", async () => {
  page = await Page.open("#/", new FakeBackend());
  expect(page.text).toContain("Nothing waits for you.");
});

test("one click stops, and only a held button resumes", async () => {
  const backend = FakeBackend.withSamples();
  page = await Page.open("#/", backend);
  page.button("Stop all agents").click();
  await page.settle();
  expect(backend.calls).toEqual(["stop"]);
  expect(page.text).toContain("All agents are stopped.");
  await page.ready();
  page.button("Hold to resume").click();
  await page.pass(1500);
  expect(backend.calls).toEqual(["stop"]);
  await page.pointer("pointerdown", page.button("Hold to resume"));
  await page.pass(1000);
  expect(backend.calls).toEqual(["stop", "resume"]);
});

test("what is frozen can be ended, by one click more", async () => {
  const backend = FakeBackend.withSamples();
  backend.current = { ...backend.current, runs: [sampleRun()] };
  page = await Page.open("#/", backend);
  page.button("Stop all agents").click();
  await page.settle();
  expect(page.text).toContain("One run is frozen");
  page.button("End it now").click();
  await page.settle();
  expect(backend.calls).toEqual(["stop", "stop"]);
  expect(page.text).not.toContain("frozen");
});

test("one agent is stopped by a click, and only a held button lets it go on", async () => {
  const backend = new FakeBackend();
  backend.current = { ...backend.current, runs: [sampleRun(), sampleRun({ run: "run-2", agent: "other-bot" })] };
  page = await Page.open("#/", backend);
  page.button("Stop inbox-bot").click();
  await page.settle();
  expect(backend.calls).toEqual(["stop inbox-bot"]);
  expect(page.text).toContain("Stopped agents");
  expect(page.text).toContain("Stop other-bot");
  expect(page.text).not.toContain("All agents are stopped");
  await page.ready();
  page.button("Hold to let inbox-bot go on").click();
  await page.pass(1500);
  expect(backend.calls).toEqual(["stop inbox-bot"]);
  await page.pointer("pointerdown", page.button("Hold to let inbox-bot go on"));
  await page.pass(1000);
  expect(backend.calls).toEqual(["stop inbox-bot", "resume inbox-bot"]);
});

test("every boundary is tried when asked to, once at a time, and what failed stands out", async () => {
  const backend = new FakeBackend();
  backend.checks[1] = { boundary: "Display", state: "broken", found: "a run crosses it: :0" };
  page = await Page.open("#/health", backend);
  expect(page.text).toContain("Does every boundary hold?");
  page.button("Try them").click();
  await page.settle();
  expect(page.text).toContain("A test question is coming");
  page.button("Try them").click();
  await page.pass(1000);
  expect(backend.calls).toEqual(["examine"]);
  expect(page.text).toContain("1 of 4 failed");
  expect(document.querySelector("tr.broken")?.textContent).toContain("a run crosses it: :0");
});

test("the stop works while the window still ignores everything else", async () => {
  const backend = FakeBackend.withSamples();
  page = await Page.open("#/", backend);
  page.button("Stop all agents").click();
  await page.settle();
  expect(backend.calls).toEqual(["stop"]);
});

test("a hotkey that does not work is told in the window", async () => {
  const backend = new FakeBackend();
  const hotkey = { ...backend.current.hotkey, problem: "no display" };
  backend.current = { ...backend.current, hotkey, warnings: ["No tray."] };
  page = await Page.open("#/", backend);
  expect(page.text).toContain("The stop's hotkey does not work: no display");
  expect(page.text).toContain("No tray.");
});

test("the timeline filters by agent, account, effect and decision", async () => {
  page = await Page.open("#/timeline", FakeBackend.withSamples());
  expect(rows().length).toBe(8);
  await page.choose("Agent", "inbox-bot");
  expect(rows().length).toBe(4);
  await page.choose("Effect", "delete");
  expect(rows().length).toBe(2);
  await page.choose("Decision", "deny");
  expect(rows()).toEqual([expect.stringContaining("Delete 4,312 messages for good")]);
  await page.choose("Agent", "");
  await page.choose("Account", "intranet-forum");
  expect(rows()).toEqual([expect.stringContaining("Nothing here yet.")]);
});

test("the timeline is live: a row appears, and its outcome replaces it", async () => {
  const backend = FakeBackend.withSamples();
  page = await Page.open("#/timeline", backend);
  backend.row(sampleRow({ index: 20, outcome: "under way", tone: "pending" }));
  await page.settle();
  expect(rows()[0]).toContain("under way");
  backend.row(sampleRow({ index: 20, outcome: "done, 204" }));
  await page.settle();
  expect(rows()[0]).toContain("done, 204");
  expect(rows().length).toBe(9);
});

test("a live row that the filter excludes does not appear", async () => {
  const backend = FakeBackend.withSamples();
  page = await Page.open("#/timeline", backend);
  await page.choose("Decision", "deny");
  backend.row(sampleRow({ index: 20 }));
  await page.settle();
  expect(rows().length).toBe(1);
});

test("a record opens from its row, with its sections", async () => {
  page = await Page.open("#/record/8", FakeBackend.withSamples());
  expect(page.text).toContain("Delete 4,312 messages for good");
  expect(page.text).toContain("Decided");
});

test("addresses that are none lead to what waits", () => {
  for (const bad of ["", "#/x", "#/request/", "#/record/a", "#/request/../x", "#/record/1/2"]) {
    expect(parse(bad)).toEqual({ page: "waiting" });
  }
  expect(parse("#/key")).toEqual({ page: "key" });
  expect(parse("#/record/12")).toEqual({ page: "record", index: 12 });
});

test("a row matches only when every chosen part does", () => {
  const row = sampleRow({ effects: ["read", "secret"] });
  expect(matches(EVERYTHING, row)).toBe(true);
  expect(matches({ ...EVERYTHING, effect: "secret", agent: "inbox-bot" }, row)).toBe(true);
  expect(matches({ ...EVERYTHING, effect: "delete" }, row)).toBe(false);
  expect(merge([sampleRow({ index: 1 })], [sampleRow({ index: 3 }), sampleRow({ index: 1, by: "new" })]))
    .toMatchObject([{ index: 3 }, { index: 1, by: "new" }]);
});

test("lengths and sizes read as people say them", () => {
  expect(span(-5)).toBe("0 s");
  expect(span(59_001)).toBe("1 min 0 s");
  expect(span(7 * 3_600_000 + 12 * 60_000)).toBe("7 h 12 min");
  expect(bytes(73_304)).toBe("71.6 KiB");
});
