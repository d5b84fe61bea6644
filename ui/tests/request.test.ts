import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { FakeBackend } from "../src/bridge/fake";
import { sampleQuestion, sampleQuestions, sampleRequest } from "../src/bridge/samples";
import { Page } from "./page";

let page: Page;
let backend: FakeBackend;
const ID = "q-0000000001";
const answers = (): string[] => backend.calls.filter((c) => /^(deny|approve|hold)/.test(c));

beforeEach(async () => {
  vi.useFakeTimers();
  backend = new FakeBackend();
  backend.ask(sampleQuestion());
  page = await Page.open(`#/request/${ID}`, backend);
});
afterEach(async () => {
  await page.close();
  vi.useRealTimers();
});

describe("a yes", () => {
  test("needs the button held by pointer to the end", async () => {
    await page.ready();
    const approve = page.button("Hold to approve");
    await page.pointer("pointerdown", approve);
    await page.pass(700);
    expect(answers()).toEqual([`hold ${ID}`]);
    await page.pass(300);
    expect(answers()).toEqual([`hold ${ID}`, `approve ${ID}`]);
  });
  test.each([" ", "Enter"])("can be held with the key %j", async (key) => {
    await page.ready();
    const approve = page.button("Hold to approve");
    await page.key("keydown", key, approve);
    await page.pass(1000);
    expect(answers()).toEqual([`hold ${ID}`, `approve ${ID}`]);
  });
  test.each(["pointerup", "pointerleave", "pointercancel"])("is none after %s", async (release) => {
    await page.ready();
    const approve = page.button("Hold to approve");
    await page.pointer("pointerdown", approve);
    await page.pass(700);
    await page.pointer(release, approve);
    await page.pass(2000);
    expect(answers()).toEqual([`hold ${ID}`]);
  });
  test("is not a click, however it was made", async () => {
    await page.ready();
    page.button("Hold to approve").click();
    await page.pass(2000);
    expect(answers()).toEqual([]);
  });
  test("is not taken for a rendering that changed under the hand", async () => {
    await page.ready();
    await page.pointer("pointerdown", page.button("Hold to approve"));
    backend.ask(sampleQuestion({ digest: "d9", title: [{ by: "ours", text: "Delete 9 messages" }] }));
    await page.pass(2000);
    expect(answers()).toEqual([`hold ${ID}`]);
    expect(page.text).toContain("Delete 9 messages");
  });
  test("is not offered where only a passphrase would do", async () => {
    backend.ask(sampleQuestion({ digest: "d9", assurance: "presence" }));
    await page.ready();
    expect(() => page.button("Hold to approve")).toThrow();
    expect(page.button("Deny")).toBeTruthy();
  });
});

describe("a no", () => {
  test("has the focus, and Esc gives it", async () => {
    await page.ready();
    expect(document.activeElement).toBe(page.button("Deny"));
    await page.key("keydown", "Escape");
    expect(answers()).toEqual([`deny ${ID}`]);
    expect(window.location.hash).toBe("#/");
  });
  test("can carry a sentence to the agent", async () => {
    await page.ready();
    const input = document.querySelector("input")!;
    input.value = "use the archive instead";
    input.dispatchEvent(new Event("input", { bubbles: true }));
    page.button("Deny").click();
    await page.settle();
    expect(answers()).toEqual([`deny ${ID} because use the archive instead`]);
  });
});

test("no key or click counts for the first 700 ms", async () => {
  await page.pass(600);
  await page.key("keydown", "Escape");
  page.button("Deny").click();
  await page.pointer("pointerdown", page.button("Hold to approve"));
  await page.settle();
  expect(answers()).toEqual([]);
  await page.pass(200);
  await page.key("keydown", "Escape");
  expect(answers()).toEqual([`deny ${ID}`]);
});

test("a question that is answered elsewhere can no longer be answered here", async () => {
  await page.ready();
  backend.withdraw(ID);
  await page.settle();
  expect(page.text).toContain("This question is over.");
  await page.key("keydown", "Escape");
  expect(answers()).toEqual([]);
});

test("text from outside is never markup", async () => {
  const evil = '<img src=x onerror="window.evil=1"><b>bold</b>';
  backend.ask(
    sampleQuestion({
      digest: "d9",
      title: [{ by: "ours", text: "Write " }, { by: "foreign", text: evil }],
      request: sampleRequest({
        reason: evil, task: evil, objects: [evil], target: evil, mediaType: evil,
        text: [evil], fields: [{ label: "Text", value: [evil] }], length: 9,
      }),
    }),
  );
  await page.ready();
  expect(document.querySelector("img")).toBeNull();
  expect(document.querySelectorAll("b").length).toBeGreaterThan(0);
  expect([...document.querySelectorAll("b")].map((b) => b.textContent)).not.toContain("bold");
  expect(page.text.split(evil).length - 1).toBe(8);
  for (const quote of document.querySelectorAll("q")) expect(quote.children.length).toBe(0);
});

test("what the agent says is marked as its own words, and production is a word", async () => {
  await page.close();
  backend.questions = sampleQuestions();
  page = await Page.open("#/request/q-0000000002", backend);
  expect(page.text).toContain("The agent says the environment is broken");
  expect(page.text).toContain("PRODUCTION");
  expect(page.text).toContain("not contained");
});

test("both clocks are told, and run", async () => {
  expect(page.text).toMatch(/Its connection is held for 1 min 1\d s more/);
  expect(page.text).toMatch(/open until \d\d:\d\d:\d\d \(7 h 59 min\)/);
  await page.pass(90_000);
  expect(page.text).toContain("was told to keep waiting");
});

test("data that is cut says so, and a destructive count is spelt out", async () => {
  await page.close();
  backend.questions = sampleQuestions();
  page = await Page.open(`#/request/${ID}`, backend);
  expect(page.text).toContain("4,312 objects at once");
  expect(page.text).toContain("This is not all of it");
  expect(page.text).toContain("×3, the same request");
});
