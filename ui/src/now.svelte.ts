import { createSubscriber } from "svelte/reactivity";

const eachSecond = createSubscriber((update) => {
  const timer = setInterval(update, 1000);
  return () => clearInterval(timer);
});

/** The wall clock, for display only: nothing is decided by it here. */
export const now = {
  /** Milliseconds since 1970; whatever reads it is redrawn each second. */
  get ms(): number {
    eachSecond();
    return Date.now();
  },
};
