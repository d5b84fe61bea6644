import type { TimelineFilter } from "./bridge/types/TimelineFilter";
import type { TimelineRow } from "./bridge/types/TimelineRow";

export const EVERYTHING: TimelineFilter = {
  agent: null,
  account: null,
  effect: null,
  decision: null,
  before: null,
};

/** Whether a row that came by itself belongs to what is shown. */
export function matches(filter: TimelineFilter, row: TimelineRow): boolean {
  return (
    (filter.agent === null || row.agent === filter.agent) &&
    (filter.account === null || row.account === filter.account) &&
    (filter.effect === null || row.effects.includes(filter.effect)) &&
    (filter.decision === null || row.decision === filter.decision)
  );
}

/** Rows newest first; one that came again replaces its older self. */
export function merge(rows: TimelineRow[], news: TimelineRow[]): TimelineRow[] {
  const byIndex = new Map(rows.map((row) => [row.index, row]));
  for (const row of news) byIndex.set(row.index, row);
  return [...byIndex.values()].sort((a, b) => b.index - a.index);
}
