import { EVERYTHING, matches } from "../filter";
import type { Backend, Listener, Unlisten } from "./backend";
import { sampleChecks, sampleQuestions, sampleRows, sampleState } from "./samples";
import type { CheckView } from "./types/CheckView";
import type { QuestionView } from "./types/QuestionView";
import type { RecordView } from "./types/RecordView";
import type { StateView } from "./types/StateView";
import type { TimelineFilter } from "./types/TimelineFilter";
import type { TimelineRow } from "./types/TimelineRow";
import type { TrialView } from "./types/TrialView";

/** How long trying every boundary takes here, in milliseconds. */
const EXAMINATION_MS = 400;
/** How long the Rust side wants a button held, in milliseconds. */
const HELD_MS = 800;

/** Behaves like the Rust side, in memory: for a plain browser and for tests. */
export class FakeBackend implements Backend {
  questions: QuestionView[] = [];
  rows: TimelineRow[] = [];
  current: StateView = sampleState();
  checks: CheckView[] = sampleChecks();
  /** What was asked of it, in order: `deny q-1 because …`. */
  readonly calls: string[] = [];
  #listeners = new Set<Listener>();
  #hold: { what: string; since: number } | null = null;

  static withSamples(): FakeBackend {
    const fake = new FakeBackend();
    fake.questions = sampleQuestions();
    fake.rows = sampleRows();
    fake.#tell();
    return fake;
  }

  listen(listener: Listener): Promise<Unlisten> {
    this.#listeners.add(listener);
    return Promise.resolve(() => void this.#listeners.delete(listener));
  }
  state(): Promise<StateView> {
    return Promise.resolve(this.current);
  }
  waiting(): Promise<QuestionView[]> {
    return Promise.resolve(this.questions);
  }
  request(id: string): Promise<QuestionView | null> {
    this.calls.push(`request ${id}`);
    return Promise.resolve(this.questions.find((q) => q.id === id) ?? null);
  }
  async deny(id: string, digest: string, because: string | null): Promise<void> {
    this.#shown(id, digest);
    this.calls.push(`deny ${id}${because === null ? "" : ` because ${because}`}`);
    this.#over(id);
  }
  async holdStart(id: string, digest: string): Promise<void> {
    this.#shown(id, digest);
    this.calls.push(`hold ${id}`);
    this.#hold = { what: `${id} ${digest}`, since: Date.now() };
  }
  async holdFinish(id: string, digest: string): Promise<void> {
    this.#shown(id, digest);
    this.#held(`${id} ${digest}`);
    this.calls.push(`approve ${id}`);
    this.#over(id);
  }
  async stop(): Promise<void> {
    this.calls.push("stop");
    this.questions = [];
    const again = this.current.state === "stopped";
    const runs = this.current.runs.map((run) => ({
      ...run,
      standing: again || !run.stop.includes("freezes") ? ("killed" as const) : ("frozen" as const),
    }));
    this.current = { ...this.current, runs, state: "stopped", stoppedSince: Date.now(), stoppedBy: "the window" };
    this.#tell();
  }
  async stopAgent(agent: string): Promise<void> {
    this.calls.push(`stop ${agent}`);
    const others = this.current.stoppedAgents.filter((stop) => stop.agent !== agent);
    this.current = {
      ...this.current,
      stoppedAgents: [...others, { agent, since: Date.now(), by: "the window" }],
    };
    this.#tell();
  }
  async resumeAgentStart(agent: string): Promise<void> {
    this.#hold = { what: `resume ${agent}`, since: Date.now() };
  }
  async resumeAgentFinish(agent: string): Promise<void> {
    this.#held(`resume ${agent}`);
    this.calls.push(`resume ${agent}`);
    const stoppedAgents = this.current.stoppedAgents.filter((stop) => stop.agent !== agent);
    this.current = { ...this.current, stoppedAgents };
    this.#tell();
  }
  async resumeStart(): Promise<void> {
    this.#hold = { what: "resume", since: Date.now() };
  }
  async resumeFinish(): Promise<void> {
    this.#held("resume");
    this.calls.push("resume");
    this.current = { ...this.current, state: "idle", stoppedSince: null, stoppedBy: null };
    this.#tell();
  }
  async hotkeyTry(keys: string): Promise<void> {
    this.calls.push(`try ${keys}`);
    if (!keys.includes("+")) throw `“${keys}”: needs Ctrl, Alt or Super, or it would fire while you type.`;
    this.#trial({ keys, heard: this.current.hotkey.desktopDecides ? "desktop" : "notyet", problem: null });
  }
  async hotkeyForget(): Promise<void> {
    this.calls.push("forget");
    this.#trial(null);
  }
  async hotkeyUse(): Promise<void> {
    const { trial } = this.current.hotkey;
    if (trial?.heard !== "yes" && trial?.heard !== "desktop") throw "It has not been heard yet.";
    this.calls.push(`use ${trial.keys}`);
    this.#trial(null);
  }
  /** What is tried is heard, or never will be. */
  heard(problem: string | null = null): void {
    const { trial } = this.current.hotkey;
    if (trial) this.#trial({ ...trial, heard: problem === null ? "yes" : "never", problem });
  }
  timeline(filter: TimelineFilter): Promise<TimelineRow[]> {
    const { before } = filter;
    return Promise.resolve(
      this.rows.filter((row) => matches(filter, row) && (before === null || row.index < before)),
    );
  }
  async record(index: number): Promise<RecordView | null> {
    const row = (await this.timeline(EVERYTHING)).find((r) => r.index === index);
    if (!row) return null;
    const section = (title: string, ...lines: [string, string][]) => ({
      title,
      lines: lines.map(([label, text]) => ({ label, value: [{ by: "ours" as const, text }] })),
    });
    return {
      row,
      sections: [
        section("Who", ["Agent", row.agent ?? "nobody"]),
        section("Decision", ["Decided", row.by]),
        section("Outcome", ["Outcome", row.outcome]),
      ],
    };
  }

  async examine(): Promise<CheckView[]> {
    this.calls.push("examine");
    await new Promise((done) => setTimeout(done, EXAMINATION_MS));
    return this.checks;
  }

  /** Something new waits. */
  ask(question: QuestionView): void {
    this.questions = [...this.questions.filter((q) => q.id !== question.id), question];
    this.#tell();
  }
  /** A question ends elsewhere. */
  withdraw(id: string): void {
    this.#over(id);
  }
  /** A row is new, or changed. */
  row(row: TimelineRow): void {
    this.rows = [row, ...this.rows.filter((r) => r.index !== row.index)];
    for (const listener of this.#listeners) listener.timeline(row);
  }

  #trial(trial: TrialView | null): void {
    this.current = { ...this.current, hotkey: { ...this.current.hotkey, trial } };
    this.#tell();
  }
  #shown(id: string, digest: string): void {
    const question = this.questions.find((q) => q.id === id);
    if (question?.digest !== digest) throw "This is no longer what waits; read it again.";
  }
  #held(what: string): void {
    const hold = this.#hold;
    this.#hold = null;
    if (hold?.what !== what || Date.now() - hold.since < HELD_MS) throw "It was not held long enough.";
  }
  #over(id: string): void {
    this.questions = this.questions.filter((q) => q.id !== id);
    this.#tell();
  }
  #tell(): void {
    if (this.current.state !== "stopped") {
      this.current = { ...this.current, state: this.questions.length ? "asking" : "idle" };
    }
    this.current = { ...this.current, waiting: this.questions.length };
    for (const listener of this.#listeners) {
      listener.state(this.current);
      listener.waiting(this.questions);
    }
  }
}
