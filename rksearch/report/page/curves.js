// Learning curves: front and baselines, and the selection where it is small; or all seeds of one network.

const MOST_CURVES = 60;

// Draws lines of [epoch, error] into an element. Each line has points, css and a title.
const drawCurves = (root, lines, label) => {
  const all = lines.flatMap((line) => line.points);
  if (!all.length) { root.innerHTML = "<p>No curve was recorded.</p>"; return; }
  const box = boxOf(root);
  const longest = Math.max(...all.map(([epoch]) => epoch));
  const firm = lines.filter((line) => line.strong).flatMap((line) => line.points.slice(Math.floor(line.points.length / 5)));
  const values = (firm.length ? firm : all).map(([, error]) => error);
  const room = Math.max(0.5, 0.06 * (Math.max(...values) - Math.min(...values)));
  const x = scaleOf(longest < 2 ? 0.5 : 1, Math.max(longest, 1.5), box.left, box.right);
  const y = scaleOf(Math.max(0, Math.min(...values) - room), Math.min(100, Math.max(...values) + room), box.bottom, box.top);
  const drawn = lines.map((line) => path(line.points.map(([epoch, error]) => [x.map(epoch), y.map(error)]), `curve ${line.css}`,
    { "stroke-dasharray": line.dash ?? null }).replace("></path>", `><title>${plain(line.title)}</title></path>`));
  root.innerHTML = svg(box, `<defs><clipPath id="${root.id}-inside"><rect x="${box.left}" y="${box.top}" width="${box.right - box.left}"
    height="${box.bottom - box.top}"/></clipPath></defs>`
    + frame(box, { scale: x, title: "Epoch", format: (v) => `${v}`, whole: true }, { scale: y, title: `${label}, %`, format: (v) => `${v}` })
    + `<g clip-path="url(#${root.id}-inside)">${drawn.join("")}</g>`,
  { role: "img", "aria-label": `${label} after each epoch: ${lines.map((line) => line.title).slice(0, 12).join("; ")}` });
};

const curvesChart = () => {
  const root = document.getElementById("curves");
  const title = (net) => `${net.arch}: ${Number.isFinite(net[COMPARED]) ? `${net[COMPARED].toFixed(2)} %` : MISSING}`;
  const firm = [
    ...nets.filter(isBaseline).map((net, i) => ({ points: meanCurve(net), css: "base", dash: ["6 4", "2 3", "8 3 2 3", "10 4"][i % 4], title: title(net), strong: true })),
    ...nets.filter((net) => net.on_front).map((net) => ({ points: meanCurve(net), css: "front", title: title(net), strong: true })),
  ];
  views.push(() => {
    const picked = isFiltered() ? nets.filter((net) => chosen[net.index] && !net.on_front && !isBaseline(net)).slice(0, MOST_CURVES) : [];
    const lines = [
      ...picked.map((net) => ({ points: meanCurve(net), css: net.status === "complete" ? "other" : "pruned", title: title(net) })),
      ...firm,
    ].filter((line) => line.points.length);
    drawCurves(root, lines, payload.errors[0].label);
    document.getElementById("curves-note").innerHTML = `Means over seeds: the front solid, baselines dashed${picked.length ? ", the selection thin" : ""}.`
      + `${picked.length === MOST_CURVES ? ` The first ${MOST_CURVES} of the selection are drawn.` : ""}<span class="on-screen"> Point at a curve for its name.</span>`;
  });
};

const COMPARED = payload.errors[0].field;
