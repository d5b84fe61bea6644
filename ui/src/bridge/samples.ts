// What the fake side shows: the incidents that the product exists for.
import type { CheckView } from "./types/CheckView";
import type { QuestionView } from "./types/QuestionView";
import type { RequestView } from "./types/RequestView";
import type { RunRow } from "./types/RunRow";
import type { SpanView } from "./types/SpanView";
import type { StateView } from "./types/StateView";
import type { TimelineRow } from "./types/TimelineRow";

const ours = (text: string): SpanView => ({ by: "ours", text });
const foreign = (text: string): SpanView => ({ by: "foreign", text });

export function sampleState(): StateView {
  return {
    state: "idle",
    waiting: 0,
    stoppedSince: null,
    stoppedBy: null,
    hotkey: {
      keys: "Ctrl+Alt+Shift+Escape",
      worksAs: "Ctrl+Alt+Shift+Escape",
      problem: null,
      desktopDecides: false,
      trial: null,
    },
    warnings: [],
    runs: [],
    stoppedAgents: [],
  };
}

export function sampleRun(part: Partial<RunRow> = {}): RunRow {
  return {
    run: "run-7k2m9x4p",
    agent: "inbox-bot",
    task: "tidy the inbox, confirm before every action",
    contained: true,
    since: Date.now(),
    requests: 17,
    standing: "runs",
    stop: "the first stop freezes it (cgroup v2), the second kills it",
    ...part,
  };
}

export function sampleChecks(): CheckView[] {
  return [
    { boundary: "Keyring", state: "holds", found: "open; 3 credential(s), in 4 ms" },
    { boundary: "Display", state: "holds", found: "you reach 2, a run none of them" },
    { boundary: "Containers", state: "absent", found: "there is none here" },
    { boundary: "The network", state: "holds", found: "there is no way out but the gateway" },
  ];
}

export function sampleRequest(part: Partial<RequestView> = {}): RequestView {
  return {
    request: "0123456789",
    agent: "inbox-bot",
    run: "run-7k2m9x4p",
    task: "tidy the inbox, confirm before every action",
    contained: true,
    effects: ["delete"],
    objects: ["18c2f0a1b2"],
    count: 1,
    account: "mail",
    environment: "personal",
    production: false,
    provider: "gmail",
    operation: "gmail.users.messages.trash",
    target: "POST https://gmail.googleapis.com/gmail/v1/users/me/messages/18c2f0a1b2/trash",
    reason: null,
    fields: [],
    text: null,
    whole: true,
    mediaType: null,
    length: 0,
    rules: ["ask-first"],
    ...part,
  };
}

export function sampleQuestion(part: Partial<QuestionView> = {}): QuestionView {
  const asked = Date.now() - 21_000;
  return {
    id: "q-0000000001",
    digest: "d1",
    assurance: "window",
    asked,
    ends: asked + 8 * 3_600_000,
    heldUntil: asked + 100_000,
    times: 1,
    title: [ours("Move message "), foreign("18c2f0a1b2"), ours(" to the trash")],
    request: sampleRequest(),
    summary: [],
    diff: [],
    ...part,
  };
}

export function sampleQuestions(): QuestionView[] {
  return [
    sampleQuestion({
      id: "q-0000000002",
      digest: "d2",
      title: [ours("Delete the stack "), foreign("orders-live"), ours(" and all that belongs to it")],
      request: sampleRequest({
        agent: "infra-agent",
        task: "fix the failing health check",
        contained: false,
        effects: ["delete", "admin"],
        objects: ["orders-live"],
        account: "aws-main",
        environment: "production",
        production: true,
        provider: "http",
        operation: "DELETE /stacks/*",
        target: "DELETE https://cloud.example/stacks/orders-live",
        reason: "the environment is broken, rebuilding it is the quickest way",
      }),
    }),
    sampleQuestion({
      title: [ours("Delete 4,312 messages for good")],
      times: 3,
      request: sampleRequest({
        effects: ["delete", "bulk"],
        count: 4312,
        objects: ["18c2f0a1b2", "18c2f0a1b3", "18c2f0a1b4"],
        operation: "gmail.users.messages.batchDelete",
        target: "POST https://gmail.googleapis.com/gmail/v1/users/me/messages/batchDelete",
        text: ['{"ids": [', '  "18c2f0a1b2",', '  "18c2f0a1b3",'],
        whole: false,
        mediaType: "application/json",
        length: 73_304,
      }),
    }),
    sampleQuestion({
      id: "q-0000000003",
      digest: "d3",
      title: [ours("Publish a post in "), foreign("platform-help")],
      request: sampleRequest({
        agent: "helper",
        task: "answer open questions in the forum",
        effects: ["publish"],
        objects: ["platform-help"],
        account: "intranet-forum",
        environment: "",
        provider: "http",
        operation: "POST /posts",
        target: "POST https://forum.corp.example/posts",
        reason: "<b>urgent</b>, this was approved by the security team",
        fields: [
          { label: "Audience", value: ["everyone in the company"] },
          { label: "Text", value: ["To fix this, open the bucket to all users:", "set acl = public-read"] },
        ],
        mediaType: "application/json",
        length: 142,
      }),
    }),
  ];
}

export function sampleRow(part: Partial<TimelineRow> = {}): TimelineRow {
  return {
    index: 1,
    at: Date.now() - 60_000,
    agent: "inbox-bot",
    account: "mail",
    production: false,
    what: [ours("List messages")],
    effects: ["read"],
    decision: "allow",
    by: "policy",
    outcome: "done, 200",
    tone: "ok",
    ...part,
  };
}

export function sampleRows(): TimelineRow[] {
  const note = { agent: null, account: null, effects: [], decision: null, by: "" } as const;
  return [
    sampleRow({ index: 9, at: Date.now() - 9_000, what: [ours("Move message "), foreign("18c2f0a1b2"), ours(" to the trash")], effects: ["delete"], by: "you, notification", outcome: "under way", tone: "pending" }),
    sampleRow({ index: 8, at: Date.now() - 14_000, what: [ours("Delete 4,312 messages for good")], effects: ["delete", "bulk"], decision: "deny", by: "you, window", outcome: "denied", tone: "denied" }),
    sampleRow({ index: 6, agent: "infra-agent", account: "aws-main", production: true, what: [ours("Describe the stack "), foreign("orders-live")], by: "policy", outcome: "outcome unknown", tone: "unknown" }),
    sampleRow({ index: 5, agent: "helper", account: "intranet-forum", what: [ours("Publish a post in "), foreign("platform-help")], effects: ["publish"], by: "you, window", outcome: "done, 201" }),
    sampleRow({ index: 4 }),
    sampleRow({ ...note, index: 3, agent: "inbox-bot", what: [ours("Run started: "), foreign("tidy the inbox")], effects: [], outcome: "contained", tone: "note" }),
    sampleRow({ ...note, index: 2, what: [ours("Stop lifted")], effects: [], outcome: "window", tone: "note" }),
    sampleRow({ ...note, index: 1, what: [ours("All agents stopped")], effects: [], outcome: "hotkey", tone: "alarm" }),
  ];
}
