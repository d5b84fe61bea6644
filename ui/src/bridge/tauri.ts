import { invoke } from "@tauri-apps/api/core";
import { listen } from "@tauri-apps/api/event";
import type { Backend, Listener, Unlisten } from "./backend";
import type { CheckView } from "./types/CheckView";
import type { QuestionView } from "./types/QuestionView";
import type { RecordView } from "./types/RecordView";
import type { StateView } from "./types/StateView";
import type { TimelineFilter } from "./types/TimelineFilter";
import type { TimelineRow } from "./types/TimelineRow";

/** The Rust side. One command per thing that can be asked; nothing generic. */
export class TauriBackend implements Backend {
  async listen(listener: Listener): Promise<Unlisten> {
    const ends = await Promise.all([
      listen<StateView>("state", (e) => listener.state(e.payload)),
      listen<QuestionView[]>("waiting", (e) => listener.waiting(e.payload)),
      listen<TimelineRow>("timeline", (e) => listener.timeline(e.payload)),
      listen<string | null>("appeared", (e) => {
        if (e.payload !== null) window.location.hash = e.payload;
        listener.appeared();
      }),
      listen<string>("problem", (e) => listener.problem(e.payload)),
    ]);
    return () => ends.forEach((end) => end());
  }
  state(): Promise<StateView> {
    return invoke("state");
  }
  waiting(): Promise<QuestionView[]> {
    return invoke("waiting");
  }
  request(id: string): Promise<QuestionView | null> {
    return invoke("request", { id });
  }
  deny(id: string, digest: string, because: string | null): Promise<void> {
    return invoke("deny", { id, digest, because });
  }
  holdStart(id: string, digest: string): Promise<void> {
    return invoke("hold_start", { id, digest });
  }
  holdFinish(id: string, digest: string): Promise<void> {
    return invoke("hold_finish", { id, digest });
  }
  stop(): Promise<void> {
    return invoke("stop");
  }
  stopAgent(agent: string): Promise<void> {
    return invoke("stop_agent", { agent });
  }
  resumeAgentStart(agent: string): Promise<void> {
    return invoke("resume_agent_start", { agent });
  }
  resumeAgentFinish(agent: string): Promise<void> {
    return invoke("resume_agent_finish", { agent });
  }
  resumeStart(): Promise<void> {
    return invoke("resume_start");
  }
  resumeFinish(): Promise<void> {
    return invoke("resume_finish");
  }
  hotkeyTry(keys: string): Promise<void> {
    return invoke("hotkey_try", { keys });
  }
  hotkeyForget(): Promise<void> {
    return invoke("hotkey_forget");
  }
  hotkeyUse(): Promise<void> {
    return invoke("hotkey_use");
  }
  timeline(filter: TimelineFilter): Promise<TimelineRow[]> {
    return invoke("timeline", { filter });
  }
  record(index: number): Promise<RecordView | null> {
    return invoke("record", { index });
  }
  examine(): Promise<CheckView[]> {
    return invoke("examine");
  }
}
