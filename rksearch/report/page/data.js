// The networks of the run: one object for each row of the table, with the fields of `rksearch.results.columns`.

const payload = JSON.parse(document.getElementById("payload").textContent);
const columns = payload.columns;
const column = new Map(columns.map((c) => [c.field, c]));

const nets = payload.values.arch.map((_, index) => {
  const net = { index };
  for (const [field, values] of Object.entries(payload.values)) net[field] = values[index];
  return net;
});
const byName = new Map(nets.map((net) => [net.arch, net]));

const isSearched = (net) => net.status === "complete" && (net.role === "candidate" || net.role === "known");
const isBaseline = (net) => net.status === "complete" && net.role === "baseline";

// Reads a field of a network, or one entry of a list: `m:0` is the first period's growth multiple.
const readerOf = (key) => {
  const [field, place] = key.split(":");
  if (place === undefined) return (net) => net[field] ?? null;
  return (net) => {
    const entry = net[field]?.[Number(place)];
    if (entry === undefined) return null;
    return entry === "yes" ? 1 : entry === "no" ? 0 : entry;
  };
};

// All trainings of a network: errors after the epochs that the page keeps, in percent.
const curvesOf = (net) =>
  (payload.curves[net.index] ?? []).map(([replicate, length, complete, ...hundredths]) => ({
    replicate,
    complete: complete === 1,
    points: hundredths
      .map((value, i) => [payload.epochs[length][i], value === null ? null : value / 100])
      .filter(([, error]) => error !== null),
  }));

// The mean over seeds, at the epochs that all of them have: of complete trainings alone where the network has one.
const meanCurve = (net) => {
  const counted = curvesOf(net).filter((run) => run.complete || net.status !== "complete");
  const runs = counted.map((run) => new Map(run.points));
  if (!runs.length) return [];
  const shared = [...runs[0].keys()].filter((epoch) => runs.every((run) => run.has(epoch)));
  return shared.map((epoch) => [epoch, runs.reduce((sum, run) => sum + run.get(epoch), 0) / runs.length]);
};

// Networks that none of the others betters in cost and error, by rising cost.
const frontOf = (group, cost, error) => {
  const known = group.filter((net) => net[cost] > 0 && net[error] !== null && net[error] !== undefined);
  known.sort((a, b) => a[cost] - b[cost] || a[error] - b[error] || (a.arch < b.arch ? -1 : 1));
  const found = [];
  for (const net of known) if (!found.length || net[error] < found[found.length - 1][error]) found.push(net);
  return found;
};

// The Runge-Kutta method of each period.
const methodsOf = (net) => net.method ?? net.s.map(() => "learned");

// Differences of two networks' choices, in words; null where they are of different families, or have none of these choices,
// as DenseNets and ResNets have none.
const differences = (a, b) => {
  if (a.family !== b.family || !a.s.length || a.s.length !== b.s.length) return null;
  const found = a.growth_rate === b.growth_rate ? [] : [`k ${a.growth_rate} → ${b.growth_rate}`];
  for (const [of, name] of [[(net) => net.m, "m"], [(net) => net.s, "s"], [(net) => net.r, "r"], [(net) => net.share, "shared"], [methodsOf, "method"]]) {
    of(a).forEach((value, i) => {
      if (value !== of(b)[i]) found.push(`${name}${i + 1} ${value} → ${of(b)[i]}`);
    });
  }
  return found;
};

// The networks trained that differ in the fewest choices, then least in parameters.
const neighbours = (net, most = 5) => {
  const distance = (other) => Math.abs(Math.log(other.params / net.params));
  return nets
    .filter((other) => other !== net && other.status === "complete" && other.params > 0)
    .map((other) => ({ net: other, changes: differences(net, other) }))
    .filter(({ changes }) => changes !== null && changes.length > 0)
    .sort((a, b) => a.changes.length - b.changes.length || distance(a.net) - distance(b.net))
    .slice(0, most);
};
