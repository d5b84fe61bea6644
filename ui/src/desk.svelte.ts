import type { Backend, Unlisten } from "./bridge/backend";
import type { CheckView } from "./bridge/types/CheckView";
import type { QuestionView } from "./bridge/types/QuestionView";
import type { StateView } from "./bridge/types/StateView";
import type { TimelineRow } from "./bridge/types/TimelineRow";

/** For this long after it appears, a window takes no key and no click. */
export const GUARD_MS = 700;

const UNKNOWN: StateView = {
  state: "idle",
  waiting: 0,
  stoppedSince: null,
  stoppedBy: null,
  hotkey: { keys: "", worksAs: "", problem: null, desktopDecides: false, trial: null },
  warnings: [],
  runs: [],
  stoppedAgents: [],
};

/** What the page knows: a copy of what the Rust side last said. */
export class Desk {
  state = $state.raw<StateView>(UNKNOWN);
  waiting = $state.raw<QuestionView[]>([]);
  /** Rows that came since the page was opened, the newest last. */
  news = $state.raw<TimelineRow[]>([]);
  /** The last refusal of the Rust side, in its words. */
  problem = $state<string | null>(null);
  /** What trying every boundary showed, the last time. */
  checks = $state.raw<CheckView[] | null>(null);
  /** They are being tried now. */
  examining = $state(false);
  /** While it holds, keys and clicks are ignored. */
  guarded = $state(true);
  #guard: ReturnType<typeof setTimeout> | undefined;
  #unlisten: Unlisten | undefined;

  constructor(readonly backend: Backend) {}

  async connect(): Promise<void> {
    this.#unlisten = await this.backend.listen({
      state: (state) => (this.state = state),
      waiting: (questions) => (this.waiting = questions),
      timeline: (row) => (this.news = [...this.news, row].slice(-500)),
      appeared: () => this.guard(),
      problem: (sentence) => (this.problem = sentence),
    });
    [this.state, this.waiting] = await Promise.all([this.backend.state(), this.backend.waiting()]);
    this.guard();
  }

  disconnect(): void {
    clearTimeout(this.#guard);
    this.#unlisten?.();
  }

  /** What is shown has just changed: whoever types or clicks now meant something else. */
  guard(): void {
    this.guarded = true;
    clearTimeout(this.#guard);
    this.#guard = setTimeout(() => (this.guarded = false), GUARD_MS);
  }

  /** Tries every boundary; it goes on while other pages are read. */
  async examine(): Promise<void> {
    if (this.examining) return;
    this.examining = true;
    await this.try(async () => {
      this.checks = await this.backend.examine();
    });
    this.examining = false;
  }

  /** Does it, and shows the sentence if it is refused. */
  async try(what: () => Promise<void>): Promise<boolean> {
    try {
      await what();
      this.problem = null;
      return true;
    } catch (refusal) {
      this.problem = String(refusal);
      return false;
    }
  }
}
