/** The pages, as they stand after `#` in the address. */
export type Route =
  | { page: "waiting" }
  | { page: "request"; id: string }
  | { page: "timeline" }
  | { page: "record"; index: number }
  | { page: "health" }
  | { page: "key" };

export function parse(hash: string): Route {
  const [, page, rest] = /^#\/(\w*)(?:\/([\w-]+))?$/.exec(hash) ?? [];
  if (page === "request" && rest) return { page, id: rest };
  if (page === "record" && rest && /^\d+$/.test(rest)) return { page, index: Number(rest) };
  if (page === "timeline" || page === "health" || page === "key") return { page };
  return { page: "waiting" };
}

class Here {
  route = $state.raw<Route>(parse(window.location.hash));
  constructor() {
    window.addEventListener("hashchange", () => (this.route = parse(window.location.hash)));
  }
}

export const here = new Here();

export function go(hash: string): void {
  window.location.hash = hash;
}
