// Draws the main chart: any cost against any error. Above `CROWD` networks those off the fronts go to a canvas, pale enough
// to show their density; some thousand SVG elements would answer late.

const CROWD = 2000;
const MOST_NAMED = 20; // of more baselines, only those on their front have their names beside them

// What the last drawing knows: box, scales, places of networks; and the network that the keyboard stands on.
const chart = { root: document.getElementById("chart"), places: [], front: new Set(), focus: null };

const drawChart = () => {
  const { root } = chart;
  const { shown, front, marked, costs, errors } = homeShown();
  const box = boxOf(root, { left: sizeOf(root).width < 520 ? 44 : 56 });
  const x = scaleOf(...(state.zoom?.x ?? costs), box.left + 6, box.right - 6, true);
  const y = scaleOf(...(state.zoom?.y ?? errors), box.bottom - 4, box.top + 6, state.log);
  // The logarithm of 0 is nowhere: such errors lie far below the frame.
  const down = (error) => y.map(state.log ? Math.max(error, y.low / 1e3) : error);
  Object.assign(chart, { box, x, y, places: [], front: new Set(front) });

  const layers = { marks: [], edges: [], crowd: [], hollow: [], outside: { above: 0, below: 0, left: 0, right: 0 } };
  for (const { net, kind } of marked) placeMark(net, kind, marked.length, down, layers);
  for (const row of publishedShown()) placePublished(row, down, layers);

  const beyond = Object.entries(layers.outside).filter(([, n]) => n).map(([where, n]) =>
    `${n.toLocaleString("en")} ${where === "above" || where === "below" ? `${where} the axis` : `to the ${where}`}`).join(", ");
  root.querySelector(".paper").innerHTML = svg(box, [
    `<defs><clipPath id="inside"><rect x="${box.left}" y="${box.top}" width="${box.right - box.left}" height="${box.bottom - box.top}"/></clipPath></defs>`,
    frame(box, { scale: x, title: `${costShown().label} (log scale)`, format: tick },
      { scale: y, title: `${errorShown().label}, %${state.log ? " (log scale)" : ""}`, format: (v) => `${Number(v.toPrecision(3))}` }),
    `<g clip-path="url(#inside)">${bandPath(down)}${frontLines(shown, front, down)}${rangeBox(down)}${layers.hollow.join("")}${layers.marks.join("")}</g>`,
    layers.edges.join(""),
    placeLabels(labelsOf(front, shown), obstaclesShown(shown, front, down), box),
    beyond ? tag("text", { class: "note", x: box.right, y: box.top - 10, "text-anchor": "end" }, plain(beyond)) : "",
    '<g id="over"></g>',
  ].join(""), { "aria-hidden": "true", focusable: "false" });
  root.setAttribute("aria-label", `${costShown().label} against ${errorShown().label.toLowerCase()}: ${count(shown.length, "network")}, `
    + `${front.length} on the front of Runge-Kutta networks${beyond ? `, ${beyond}` : ""}.`);
  paintCrowd(layers.crowd);
  drawLegend(marked);
  document.getElementById("unzoom").hidden = !state.zoom;
  if (chart.focus && document.activeElement === root) point(chart.focus, false);
};

const bandPath = (down) => {
  const band = errorShown().band ? payload.band[state.cost] : null;
  if (!band) return "";
  const steps = (values) => band.x.flatMap((cost, i) => {
    const at = chart.x.map(cost);
    return i ? [[at, down(values[i - 1])], [at, down(values[i])]] : [[at, down(values[i])]];
  });
  return path([...steps(band.low), ...steps(band.high).reverse()], "band");
};

const corners = (group, down) => stairs(group, state.cost, state.error, chart.x.high).map(([cost, error]) => [chart.x.map(cost), down(error)]);
const baselineFront = (shown) => frontOf(shown.filter(isBaseline), state.cost, state.error);
const frontLines = (shown, front, down) => path(corners(baselineFront(shown), down), "step base") + path(corners(front, down), "step front");

const rangeBox = (down) => {
  const [costs, errors] = [state.ranges[state.cost], state.ranges[state.error]];
  if (!costs || !errors) return "";
  const [left, right] = costs.map(chart.x.map);
  const [bottom, top] = errors.map(down);
  return tag("rect", { class: "brush", x: px(left), y: px(top), width: px(right - left), height: px(bottom - top) });
};

// A mark at its place; at the edge, and counted, where it lies beyond the axis; counted alone where the reader zoomed past it.
const placeMark = (net, kind, number, down, { marks, edges, crowd, outside }) => {
  const { x, y, box } = chart;
  const [cost, error] = [net[state.cost], net[state.error]];
  const [mx, my] = [x.map(cost), down(error)];
  const dim = chosen[net.index] ? "" : " dim";
  if (!x.holds(cost)) { outside[cost < x.low ? "left" : "right"]++; return; }
  if (!y.holds(error)) {
    const above = error > y.high;
    outside[above ? "above" : "below"]++;
    if (state.zoom) return;
    const edge = above ? box.top + 2 : box.bottom - 2;
    if (number > CROWD && RANK[kind] < RANK.base) crowd.push({ net, x: mx, y: edge + (above ? 2 : -2), kind });
    else edges.push(mark(above ? "up" : "down", mx, edge, 4.5, `${kind} edge${dim}`));
    chart.places.push({ net, x: mx, y: edge + (above ? 4 : -4) });
    return;
  }
  chart.places.push({ net, x: mx, y: my });
  const strong = kind === "front" || kind === "base";
  if (number > CROWD && !strong && kind !== "control") { crowd.push({ net, x: mx, y: my, kind }); return; }
  if (state.seeds && (strong || number <= 60)) {
    const seeds = seedsOf(net).filter(y.holds).map(down);
    if (seeds.length > 1) marks.push(tag("path", { class: `spread ${kind}${dim}`, d: `M${px(mx)} ${px(Math.min(...seeds))}V${px(Math.max(...seeds))}` }));
    for (const seed of seeds) marks.push(tag("circle", { class: `seed ${kind}${dim}`, cx: px(mx), cy: px(seed), r: 2 }));
  }
  marks.push(mark(shapeOf(net, kind), mx, my, strong ? 5.2 : number > 100 ? 3.2 : 4, `${kind}${dim}`));
};

const placePublished = (row, down, { hollow, outside }) => {
  const { x, y } = chart;
  if (!x.holds(row[state.cost])) { outside[row[state.cost] < x.low ? "left" : "right"]++; return; }
  if (!y.holds(row.error_pct)) { outside[row.error_pct > y.high ? "above" : "below"]++; return; }
  const [mx, my] = [x.map(row[state.cost]), down(row.error_pct)];
  hollow.push(mark(row.baseline ? "square" : "circle", mx, my, 5, `published${row.same_recipe ? "" : " other-recipe"}`));
  chart.places.push({ published: row, x: mx, y: my });
};

// Baselines by name (of many, those on their front), the ends of the front by their errors.
const labelsOf = (front, shown) => {
  const ends = new Set([front[0], front[front.length - 1]]);
  const baselines = shown.filter(isBaseline);
  const named = new Set(baselines.length > MOST_NAMED ? frontOf(baselines, state.cost, state.error) : baselines);
  return chart.places.filter(({ net }) => net && (named.has(net) || ends.has(net))).map(({ net, x, y }) =>
    (isBaseline(net) ? { x, y, words: net.arch, css: "base" } : { x, y, words: `${fixed(net[state.error], 2)} %`, css: "front" }));
};

const obstaclesShown = (shown, front, down) => {
  const few = chart.places.length <= 600;
  const places = chart.places.filter(({ net }) => few || (net && (isBaseline(net) || chart.front.has(net))));
  const strong = places.filter(({ net }) => net && (isBaseline(net) || chart.front.has(net)));
  const lines = [baselineFront(shown), front].filter((group) => group.length < 60).flatMap((group) => along(corners(group, down)));
  return [...places.map(({ x, y }) => [x, y]), ...(state.seeds ? strong.flatMap(spreadPlaces) : []), ...lines];
};

// Places along a line of horizontal and vertical pieces, lower than marks: a label may cross a line where it must.
const along = (points) => points.slice(1).flatMap(([x, y], i) => {
  const [fromX, fromY] = points[i];
  const steps = Math.min(200, Math.ceil(Math.hypot(x - fromX, y - fromY) / 10));
  return Array.from({ length: steps }, (_, k) => [fromX + ((x - fromX) * k) / steps, fromY + ((y - fromY) * k) / steps, 2]);
});

// Places along the bar of single seeds, so that labels keep off it.
const spreadPlaces = ({ net, x }) => {
  const ends = seedsOf(net).filter(chart.y.holds).map((error) => chart.y.map(error)).filter(Number.isFinite);
  if (ends.length < 2) return [];
  const [top, bottom] = [Math.min(...ends), Math.max(...ends)];
  return Array.from({ length: Math.ceil((bottom - top) / 10) + 1 }, (_, i) => [x, Math.min(bottom, top + 10 * i)]);
};

const paintCrowd = (crowd) => {
  const canvas = chart.root.querySelector("canvas");
  canvas.hidden = !crowd.length;
  if (!crowd.length) return;
  const context = canvasOf(canvas, chart.box);
  const style = getComputedStyle(chart.root);
  for (const [pass, colour] of [[0, "--grid-strong"], [1, "--crowd"]]) {
    context.fillStyle = style.getPropertyValue(colour);
    for (const { net, x, y, kind } of crowd) {
      if (chosen[net.index] !== pass) continue;
      // Some that were picked out of thousands must be seen.
      const few = pass === 1 && isFiltered() && chosenCount <= 500;
      const half = few ? 2.8 : 1.6;
      context.globalAlpha = few ? 1 : kind === "pruned" ? 0.25 : 0.45;
      context.fillRect(x - half, y - half, 2 * half, 2 * half);
    }
  }
};
