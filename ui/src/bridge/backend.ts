import type { CheckView } from "./types/CheckView";
import type { QuestionView } from "./types/QuestionView";
import type { RecordView } from "./types/RecordView";
import type { StateView } from "./types/StateView";
import type { TimelineFilter } from "./types/TimelineFilter";
import type { TimelineRow } from "./types/TimelineRow";

/** Ends a subscription. */
export type Unlisten = () => void;

/** What the Rust side tells the page by itself. */
export interface Listener {
  state(state: StateView): void;
  waiting(questions: QuestionView[]): void;
  /** A row that is new, or that changed. */
  timeline(row: TimelineRow): void;
  /** The window was put before the human: take no key or click for a moment. */
  appeared(): void;
  /** What could not be done, in words for the human. */
  problem(sentence: string): void;
}

/**
 * Everything that the page can ask for. Two sides implement it: `tauri` and
 * `fake`. Whatever is refused rejects with a sentence for the human.
 */
export interface Backend {
  listen(listener: Listener): Promise<Unlisten>;
  state(): Promise<StateView>;
  waiting(): Promise<QuestionView[]>;
  /** Lays one question out in full; from here on it counts as shown. */
  request(id: string): Promise<QuestionView | null>;
  deny(id: string, digest: string, because: string | null): Promise<void>;
  /** The button went down. The hold is timed there, not here. */
  holdStart(id: string, digest: string): Promise<void>;
  /** The button was held to the end. */
  holdFinish(id: string, digest: string): Promise<void>;
  /** Freezes or kills; pressed again, it kills what is frozen. */
  stop(): Promise<void>;
  stopAgent(agent: string): Promise<void>;
  resumeStart(): Promise<void>;
  resumeFinish(): Promise<void>;
  /** Another stop key, as it was pressed: tried, until it is heard or forgotten. */
  hotkeyTry(keys: string): Promise<void>;
  hotkeyForget(): Promise<void>;
  /** The one that was tried. A question to the human follows. */
  hotkeyUse(): Promise<void>;
  resumeAgentStart(agent: string): Promise<void>;
  resumeAgentFinish(agent: string): Promise<void>;
  timeline(filter: TimelineFilter): Promise<TimelineRow[]>;
  record(index: number): Promise<RecordView | null>;
  /** Tries every boundary, live; it takes up to minutes, and asks a question. */
  examine(): Promise<CheckView[]>;
}
