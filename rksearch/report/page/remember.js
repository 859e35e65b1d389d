// A reload keeps what was chosen: the reader's own, and those while the run goes on.

const REFRESH_S = 120; // the report is written every few minutes while a run works
const PLACE = `rksearch ${location.pathname}`;

const recall = () => {
  let kept = null;
  try {
    kept = JSON.parse(sessionStorage.getItem(PLACE));
  } catch {
    return; // no storage, or not ours: the page starts afresh
  }
  if (!kept || kept.run !== payload.name) return;
  const offered = { cost: payload.costs.map((c) => c.field), error: payload.errors.map((e) => e.field) };
  for (const [name, values] of Object.entries(offered)) if (values.includes(kept[name])) state[name] = kept[name];
  for (const name of ["log", "seeds", "published", "drag", "words", "ranges", "ladder"]) if (name in kept) state[name] = kept[name];
  if (column.has(kept.sort?.field)) state.sort = kept.sort;
  if (kept.cost === state.cost && kept.error === state.error) state.zoom = kept.zoom;
  for (const [group, values] of Object.entries(kept.chips ?? {})) state.chips[group] = new Set(values);
  document.getElementById("filter").value = state.words;
  requestAnimationFrame(() => scrollTo(0, kept.scroll ?? 0));
};

const startRemembering = () => {
  addEventListener("pagehide", () => {
    const chips = Object.fromEntries(Object.entries(state.chips).map(([group, values]) => [group, [...values]]));
    try {
      sessionStorage.setItem(PLACE, JSON.stringify({ ...state, chips, run: payload.name, scroll: scrollY }));
    } catch {
      return; // no storage: nothing is kept
    }
  });
  if (!payload.running) return;
  let touched = 0;
  for (const kind of ["pointerdown", "keydown", "wheel"]) addEventListener(kind, () => { touched = Date.now(); }, { passive: true });
  setInterval(() => {
    const busy = Date.now() - touched < 15_000 || document.getElementById("card").open;
    if (!busy) location.reload();
  }, REFRESH_S * 1000);
};
