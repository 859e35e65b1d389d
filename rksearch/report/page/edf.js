// Distribution of the error: at each error, the share of the networks that err no more.

const MOST_STEPS = 400; // of thousands of networks some quantiles are drawn: more steps than pixels show nothing

const edfChart = () => {
  const root = document.getElementById("edf");
  const curve = (values, x, y) => {
    const points = [];
    const steps = Math.min(values.length, MOST_STEPS);
    for (let k = 0; k < steps; k++) {
      const [below, upTo] = [k, k + 1].map((n) => Math.round((n * values.length) / steps));
      points.push([x.map(values[upTo - 1]), y.map(below / values.length)], [x.map(values[upTo - 1]), y.map(upTo / values.length)]);
    }
    if (points.length) points.push([x.map(x.high), points[points.length - 1][1]]);
    return points;
  };
  // Sorted errors of all networks and of each role, by the error: they do not depend on the selection.
  const groups = new Map();
  const groupsOf = (error) => {
    if (!groups.has(error)) {
      const complete = nets.filter((net) => net.status === "complete" && Number.isFinite(net[error])).sort((a, b) => a[error] - b[error]);
      const errors = (kept) => complete.filter(kept).map((net) => net[error]);
      groups.set(error, {
        complete, values: errors(() => true), baselines: errors(isBaseline), control: errors((net) => net.role === "control"),
        searched: errors((net) => !isBaseline(net) && net.role !== "control"),
      });
    }
    return groups.get(error);
  };
  views.push(() => {
    const { complete, values, searched, control, baselines } = groupsOf(state.error);
    if (!complete.length) { root.innerHTML = "<p>No network has this error.</p>"; return; }
    const picked = isFiltered() ? complete.filter((net) => chosen[net.index] && !isBaseline(net)).map((net) => net[state.error]) : [];
    const box = boxOf(root, { tall: 300 });
    const high = values[Math.ceil(0.98 * values.length) - 1];
    const low = values[0];
    const room = Math.max(0.05 * (high - low), 0.1);
    const x = scaleOf(Math.max(0, low - room), Math.min(100, high + room), box.left, box.right);
    const y = scaleOf(0, 1, box.bottom, box.top);
    const label = payload.errors.find((e) => e.field === state.error).label;
    const lines = [
      [searched, "all", "all Runge-Kutta networks"],
      [control, "control", "control"],
      [baselines, "base", "baselines"],
      [picked, "front", "selected"],
    ].filter(([group]) => group.length);
    root.innerHTML = svg(box, frame(box, { scale: x, title: `${label}, %`, format: (v) => `${v}` },
      { scale: y, title: "Share of networks", format: (v) => `${Math.round(100 * v)} %` })
      + `<clipPath id="edf-inside"><rect x="${box.left}" y="${box.top - 2}" width="${box.right - box.left}" height="${box.bottom - box.top + 4}"/></clipPath>`
      + `<g clip-path="url(#edf-inside)">${lines.map(([group, css]) => path(curve(group, x, y), `edf ${css}`)).join("")}</g>`,
    { role: "img", "aria-label": `Share of networks with at most a given ${label.toLowerCase()}; medians: ${lines.map(([group, , words]) =>
      `${words} ${median(group).toFixed(2)} %`).join(", ")}` })
      + `<ul class="legend">${lines.map(([group, css, words]) => `<li><svg width="22" height="14" aria-hidden="true"><path class="edf ${css}" d="M0 7H22"/></svg>${
        plain(words)}, median ${median(group).toFixed(2)} %</li>`).join("")}</ul>`;
  });
};

const median = (sorted) => {
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};
