// What the main chart shows for the chosen cost and error: networks, fronts, ranges, looks.

const costShown = () => payload.costs.find((c) => c.field === state.cost);
const errorShown = () => payload.errors.find((e) => e.field === state.error);

const netsShown = () => nets.filter((net) => net[state.cost] > 0 && Number.isFinite(net[state.error]));
const publishedShown = () => (state.published ? payload.published.filter((p) => p[state.cost] > 0) : []);

// Where the run made the front itself, its own decides: ties are counted in errors there.
const frontShown = (shown) => {
  const compared = state.error === payload.errors[0].field;
  const flag = compared ? { params: "on_front", macs: "on_macs_front", latency_ms: "on_latency_front", activation_bytes: "on_activation_front" }[state.cost] : null;
  return frontOf(shown.filter((net) => isSearched(net) && (!flag || net[flag])), state.cost, state.error);
};

// Errors of single trainings, where there are several.
const seedsOf = (net) => {
  const own = errorShown().seeds ? net[errorShown().seeds] : null;
  return own && own.length > 1 ? own : [];
};

// The axis of errors holds the fronts and the baselines with their seeds, and nine tenths of the others.
const homeErrors = (shown, front) => {
  const searched = shown.filter(isSearched).map((net) => net[state.error]).sort((a, b) => a - b);
  const ends = searched.length ? [searched[Math.ceil(0.9 * searched.length) - 1]] : [];
  for (const net of [...front, ...shown.filter(isBaseline)]) ends.push(net[state.error], ...seedsOf(net));
  ends.push(...publishedShown().map((p) => p.error_pct));
  if (!ends.length) ends.push(...shown.map((net) => net[state.error]));
  const high = Math.max(...ends);
  if (!state.log) {
    const low = Math.min(...ends);
    const room = Math.max(0.06 * (high - low), 0.25);
    return [Math.max(0, low - room), Math.min(100, high + room)];
  }
  const positive = ends.filter((value) => value > 0);
  const low = positive.length ? Math.min(...positive) : 0.1;
  const room = Math.max(high / low, 1.2) ** 0.08;
  return [low / room, Math.min(100, Math.max(high, 1.2 * low) * room)];
};

const homeCosts = (shown) => {
  const logs = [...shown, ...publishedShown()].map((net) => Math.log10(net[state.cost]));
  const [low, high] = [Math.min(...logs), Math.max(...logs)];
  const room = Math.max(0.05 * (high - low), 0.05);
  return [10 ** (low - room), 10 ** (high + room)];
};

const RANK = { pruned: 0, other: 1, control: 2, base: 3, front: 4 }; // what is drawn later covers what is drawn before
const kindOf = (net, onFront) =>
  net.status !== "complete" ? "pruned" : isBaseline(net) ? "base" : onFront.has(net) ? "front"
    : net.role === "control" ? "control" : "other";
const shapeOf = (net, kind) =>
  ({ base: "square", pruned: "cross", control: "triangle" })[kind] ?? (net.role === "known" ? "diamond" : "circle");

// Networks, front, looks and ranges for the chosen cost and error, whatever is selected: made once for each choice.
const homes = new Map();
const homeShown = () => {
  const key = [state.cost, state.error, state.log, state.published].join();
  if (!homes.has(key)) {
    const shown = netsShown();
    const front = frontShown(shown);
    const onFront = new Set(front);
    const marked = shown.map((net) => ({ net, kind: kindOf(net, onFront) })).sort((a, b) => RANK[a.kind] - RANK[b.kind]);
    const [costs, errors] = shown.length ? [homeCosts(shown), homeErrors(shown, front)] : [[1, 10], [1, 100]];
    homes.set(key, { shown, front, marked, costs, errors });
  }
  return homes.get(key);
};
