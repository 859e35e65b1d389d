// The main chart: any cost against any error. Above `CROWD` networks those off the fronts are drawn on a canvas, pale enough
// to show their density; a few thousand SVG elements would answer late.

const CROWD = 2000;

const mainChart = () => {
  const root = document.getElementById("chart");
  const tip = document.getElementById("tip");
  const said = document.getElementById("said");
  let drawn = null; // what the last drawing knows: box, scales, places of networks
  let focus = null; // the network that the keyboard stands on
  let dragged = null;

  const costs = () => payload.costs.find((c) => c.field === state.cost);
  const errors = () => payload.errors.find((e) => e.field === state.error);

  const known = () => nets.filter((net) => net[state.cost] > 0 && Number.isFinite(net[state.error]));
  // With the run's own counting where it made one: ties are decided there in error counts.
  const frontNets = (shown) => {
    const flag = state.error === payload.errors[0].field ? { params: "on_front", macs: "on_macs_front" }[state.cost] : null;
    const searched = shown.filter(isSearched);
    return frontOf(flag ? searched.filter((net) => net[flag]) : searched, state.cost, state.error);
  };

  // The axis of errors holds the fronts and the baselines with their seeds, and nine tenths of the others.
  const homeRange = (shown, front) => {
    const ends = [];
    const others = shown.filter((net) => isSearched(net)).map((net) => net[state.error]).sort((a, b) => a - b);
    if (others.length) ends.push(others[Math.ceil(0.9 * others.length) - 1]);
    for (const net of [...front, ...shown.filter(isBaseline)]) ends.push(net[state.error], ...seedsOf(net));
    if (state.published) ends.push(...publishedShown().map((p) => p.error_pct));
    if (!ends.length) ends.push(...shown.map((net) => net[state.error]));
    let [low, high] = [Math.min(...ends), Math.max(...ends)];
    if (state.log) {
      const positive = ends.filter((v) => v > 0);
      low = positive.length ? Math.min(...positive) : 0.1;
      high = Math.max(high, low * 1.2);
      return [low / (high / low) ** 0.08, Math.min(100, high * (high / low) ** 0.08)];
    }
    const room = Math.max(0.06 * (high - low), 0.25);
    return [Math.max(0, low - room), Math.min(100, high + room)];
  };
  const homeCosts = (shown) => {
    const values = [...shown.map((net) => net[state.cost]), ...(state.published ? publishedShown().map((p) => p[state.cost]) : [])];
    const [low, high] = [Math.log10(Math.min(...values)), Math.log10(Math.max(...values))];
    const room = Math.max(0.05 * (high - low), 0.05);
    return [10 ** (low - room), 10 ** (high + room)];
  };
  const seedsOf = (net) => {
    const own = errors().seeds ? net[errors().seeds] : null;
    return own && own.length > 1 ? own : [];
  };
  const publishedShown = () => payload.published.filter((p) => p[state.cost] > 0);

  const kindOf = (net, onFront) =>
    net.status !== "complete" ? "pruned" : isBaseline(net) ? "base" : onFront.has(net) ? "front"
      : net.role === "control" ? "control" : "other";
  const shapeOf = (net, kind) =>
    kind === "base" ? "square" : kind === "pruned" ? "cross" : kind === "control" ? "triangle"
      : net.role === "known" ? "diamond" : "circle";

  const draw = () => {
    const shown = known();
    const narrow = root.clientWidth < 520;
    const box = boxOf(root, { left: narrow ? 44 : 56 });
    const front = frontNets(shown);
    const onFront = new Set(front);
    const [xs, ys] = shown.length ? [homeCosts(shown), homeRange(shown, front)] : [[1, 10], [1, 100]];
    const x = scaleOf(...(state.zoom?.x ?? xs), box.left + 6, box.right - 6, true);
    const y = scaleOf(...(state.zoom?.y ?? ys), box.bottom - 4, box.top + 6, state.log);
    drawn = { box, x, y, shown, onFront, front };

    const parts = [
      `<defs><clipPath id="inside"><rect x="${box.left}" y="${box.top}" width="${box.right - box.left}"
        height="${box.bottom - box.top}"/></clipPath></defs>`,
      frame(box, { scale: x, title: `${costs().label} (log scale)`, format: tick },
        { scale: y, title: `${errors().label}, %${state.log ? " (log scale)" : ""}`, format: (v) => `${Number(v.toPrecision(3))}` }),
    ];
    const inside = [];
    const band = payload.band[state.cost];
    if (band && errors().band) {
      const limit = (v) => y.map(Math.max(v, state.log ? y.low / 10 : v));
      const corners = (values) => band.x.flatMap((c, i) => (i ? [[x.map(c), limit(values[i - 1])]] : []).concat([[x.map(c), limit(values[i])]]));
      inside.push(path([...corners(band.low), ...corners(band.high).reverse()], "band"));
    }
    const place = (net) => [x.map(net[state.cost]), y.map(state.log ? Math.max(net[state.error], y.low / 1e3) : net[state.error])];
    const line = (group, css) => {
      const corners = stairs(group, state.cost, state.error, x.high);
      inside.push(path(corners.map(([c, e]) => [x.map(c), y.map(state.log ? Math.max(e, y.low / 1e3) : e)]), `step ${css}`));
    };
    const baseFront = frontOf(shown.filter(isBaseline), state.cost, state.error);
    if (baseFront.length) line(baseFront, "base");
    line(front, "front");

    const range = [state.ranges[state.cost], state.ranges[state.error]];
    if (range[0] && range[1]) {
      const [left, right] = range[0].map(x.map);
      const [bottom, top] = range[1].map((v) => y.map(state.log ? Math.max(v, y.low / 1e3) : v));
      inside.push(tag("rect", { class: "brush", x: px(left), y: px(top), width: px(right - left), height: px(bottom - top) }));
    }

    const rank = { pruned: 0, other: 1, control: 2, base: 3, front: 4 };
    const marked = shown.map((net) => ({ net, kind: kindOf(net, onFront) })).sort((a, b) => rank[a.kind] - rank[b.kind]);
    const crowded = marked.length > CROWD;
    const outside = { above: 0, below: 0, left: 0, right: 0 };
    const marks = [], crowd = [], places = [], edges = [];
    for (const { net, kind } of marked) {
      const [cost, error] = [net[state.cost], net[state.error]];
      const [mx, my] = place(net);
      if (cost < x.low || cost > x.high) { outside[cost < x.low ? "left" : "right"]++; continue; }
      if (error > y.high || error < y.low) {
        const above = error > y.high;
        outside[above ? "above" : "below"]++;
        const edge = above ? box.top + 2 : box.bottom - 2;
        if (!state.zoom) edges.push(mark(above ? "up" : "down", mx, edge, 4.5, `${kind} edge${chosen[net.index] ? "" : " dim"}`));
        if (!state.zoom) places.push({ net, x: mx, y: edge + (above ? 4 : -4) });
        continue;
      }
      places.push({ net, x: mx, y: my });
      if (crowded && (kind === "other" || kind === "pruned")) { crowd.push({ net, x: mx, y: my, kind }); continue; }
      const dim = chosen[net.index] ? "" : " dim";
      const strong = kind === "front" || kind === "base";
      if (state.seeds && (strong || shown.length <= 60)) {
        const seeds = seedsOf(net).filter((e) => y.holds(e)).map((e) => y.map(e));
        if (seeds.length > 1) {
          marks.push(tag("path", { class: `spread ${kind}${dim}`, d: `M${px(mx)} ${px(Math.min(...seeds))}V${px(Math.max(...seeds))}` }));
        }
        for (const seed of seeds) marks.push(tag("circle", { class: `seed ${kind}${dim}`, cx: px(mx), cy: px(seed), r: 2 }));
      }
      const r = strong ? 5.2 : shown.length > 100 ? 3.2 : 4;
      marks.push(mark(shapeOf(net, kind), mx, my, r, `${kind}${dim}`));
    }
    const hollow = [];
    if (state.published) {
      for (const p of publishedShown()) {
        if (!x.holds(p[state.cost]) || !y.holds(p.error_pct)) { outside[p.error_pct > y.high ? "above" : "below"]++; continue; }
        const [mx, my] = [x.map(p[state.cost]), y.map(p.error_pct)];
        hollow.push(mark(p.baseline ? "square" : "circle", mx, my, 5, `published${p.same_recipe ? "" : " other-recipe"}`));
        places.push({ published: p, x: mx, y: my });
      }
    }
    const labels = [];
    for (const { net, x: mx, y: my } of places) if (net && isBaseline(net)) labels.push({ x: mx, y: my, words: net.arch, css: "base" });
    for (const net of [front[0], front[front.length - 1]].filter(Boolean)) {
      const found = places.find((p) => p.net === net);
      if (found) labels.push({ x: found.x, y: found.y, words: `${net[state.error].toFixed(2)} %`, css: "front" });
    }
    const obstacles = places.length > 600 ? places.filter((p) => p.net && (onFront.has(p.net) || isBaseline(p.net))) : places;
    parts.push(`<g clip-path="url(#inside)">${inside.join("")}${hollow.join("")}${marks.join("")}</g>`, edges.join(""),
      placeLabels(labels, obstacles.map((p) => [p.x, p.y]), box), '<g id="over"></g>');
    const beyond = Object.entries(outside).filter(([, n]) => n).map(([where, n]) =>
      `${n.toLocaleString("en")} ${where === "above" || where === "below" ? `${where} the axis` : `to the ${where}`}`);
    if (beyond.length) {
      parts.push(tag("text", { class: "note", x: box.right, y: box.top - 10, "text-anchor": "end" }, plain(beyond.join(", "))));
    }
    const summary = `${costs().label} against ${errors().label.toLowerCase()}: ${count(shown.length, "network")}, `
      + `${front.length} on the front of Runge-Kutta networks${beyond.length ? `, ${beyond.join(", ")}` : ""}.`;
    root.setAttribute("aria-label", summary);
    root.querySelector(".paper").innerHTML = svg(box, parts.join(""), { "aria-hidden": "true", focusable: "false" });
    drawn.places = places;
    paintCrowd(crowd, box);
    drawLegend(marked, crowded);
    document.getElementById("unzoom").hidden = !state.zoom;
    if (focus) point(focus, false);
  };

  const paintCrowd = (crowd, box) => {
    const canvas = root.querySelector("canvas");
    canvas.hidden = !crowd.length;
    if (!crowd.length) return;
    const ratio = window.devicePixelRatio || 1;
    [canvas.width, canvas.height] = [box.width * ratio, box.height * ratio];
    [canvas.style.width, canvas.style.height] = [`${box.width}px`, `${box.height}px`];
    const style = getComputedStyle(root);
    const colours = { chosen: style.getPropertyValue("--crowd"), dim: style.getPropertyValue("--grid-strong") };
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    for (const pass of [0, 1]) {
      context.fillStyle = pass ? colours.chosen : colours.dim;
      for (const { net, x, y, kind } of crowd) {
        if (chosen[net.index] !== pass) continue;
        context.globalAlpha = kind === "pruned" ? 0.25 : 0.45;
        context.fillRect(x - 1.6, y - 1.6, 3.2, 3.2);
      }
    }
  };

  const drawLegend = (marked, crowded) => {
    const present = new Set(marked.map(({ kind }) => kind));
    const icon = (shape, css, line) => `<svg width="22" height="14" aria-hidden="true">${line ? `<path class="step ${line}" d="M0 7H22"/>` : ""}${
      shape ? mark(shape, 11, 7, 4.4, css) : ""}</svg>`;
    const entries = [
      present.has("front") && [icon("circle", "front", "front"), "front of Runge-Kutta networks"],
      present.has("base") && [icon("square", "base", "base"), "baselines and their front"],
      present.has("other") && [icon("circle", "other"), crowded ? "other Runge-Kutta networks, darker where dense" : "other Runge-Kutta networks"],
      marked.some(({ net }) => net.role === "known" && net.status === "complete") && [icon("diamond", "other"), "configuration of the paper"],
      present.has("control") && [icon("triangle", "control"), "control"],
      present.has("pruned") && [icon("cross", "pruned"), "stopped early, last error"],
      payload.band[state.cost] && errors().band && ['<svg width="22" height="14" aria-hidden="true"><rect class="band" width="22" height="14"/></svg>', payload.band_label],
      state.seeds && errors().seeds && nets.some((net) => net[errors().seeds]?.length > 1) && ['<svg width="22" height="14" aria-hidden="true"><path class="spread front" d="M11 1V13"/><circle class="seed front" cx="11" cy="3" r="2"/><circle class="seed front" cx="11" cy="11" r="2"/></svg>', "single seeds"],
      state.published && publishedShown().some((p) => p.same_recipe) && [icon("circle", "published"), "published test error, same recipe"],
      state.published && publishedShown().some((p) => !p.same_recipe) && [icon("circle", "published other-recipe"), "published test error, another recipe"],
    ].filter(Boolean);
    document.getElementById("legend").innerHTML = entries.map(([shape, words]) => `<li>${shape}${plain(words)}</li>`).join("");
  };

  const nearest = (mx, my, reach = 14) => {
    let best = null, least = reach * reach;
    for (const place of drawn?.places ?? []) {
      const d = (place.x - mx) ** 2 + (place.y - my) ** 2 - (place.net && drawn.onFront.has(place.net) ? 4 : 0);
      if (d < least) [best, least] = [place, d];
    }
    return best;
  };
  const wordsOf = (place) => {
    if (place.published) {
      const p = place.published;
      return [p.arch, `published test error: ${p.error_pct.toFixed(2)} % (${p.source})`, p.same_recipe ? "the recipe of this run" : "trained by another recipe",
        `${costs().label}: ${size(p[state.cost])}`];
    }
    const { net } = place;
    const lines = columns.filter((c) => c.hover && show(net, c) !== MISSING).map((c) => `${c.label}: ${show(net, c)}`);
    if (net.status !== "complete") lines.unshift(`${net.status} after ${count(net.epochs, "epoch")}; the error is that epoch's`);
    else if (net.role !== "candidate") lines.unshift(net.role === "known" ? "configuration of the paper" : net.role);
    if (net.beaten_by?.length) lines.push(`dominated by ${net.beaten_by.join(", ")}`);
    return [net.arch, ...lines];
  };
  const showTip = (place) => {
    tip.innerHTML = wordsOf(place).map((w, i) => (i ? plain(w) : `<b>${plain(w)}</b>`)).join("<br>");
    tip.hidden = false;
    const [w, h] = [tip.offsetWidth, tip.offsetHeight];
    const left = place.x + 16 + w > root.clientWidth ? place.x - 16 - w : place.x + 16;
    tip.style.left = `${Math.max(0, left)}px`;
    tip.style.top = `${Math.min(Math.max(0, place.y - h / 2), Math.max(0, root.clientHeight - h))}px`;
    root.querySelector("#over").innerHTML = tag("circle", { class: "ring", cx: px(place.x), cy: px(place.y), r: 9 });
  };
  const hideTip = () => {
    tip.hidden = true;
    const over = root.querySelector("#over");
    if (over) over.innerHTML = "";
  };
  const point = (net, aloud = true) => {
    const place = drawn.places.find((p) => p.net === net);
    if (!place) return;
    focus = net;
    showTip(place);
    if (aloud) said.textContent = `${wordsOf(place).join(". ")}. Enter opens it.`;
  };

  const at = (event) => {
    const bounds = root.getBoundingClientRect();
    return [event.clientX - bounds.left, event.clientY - bounds.top];
  };
  const drawDrag = () => {
    const [x0, x1] = [dragged.from[0], dragged.to[0]].sort((a, b) => a - b);
    const [y0, y1] = [dragged.from[1], dragged.to[1]].sort((a, b) => a - b);
    root.querySelector("#over").innerHTML = tag("rect", { class: "brush", x: px(x0), y: px(y0), width: px(x1 - x0), height: px(y1 - y0) });
  };
  root.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch") return;
    dragged = { from: at(event), to: at(event) };
    root.setPointerCapture(event.pointerId);
  });
  root.addEventListener("pointermove", (event) => {
    if (dragged) {
      dragged.to = at(event);
      if (Math.hypot(dragged.to[0] - dragged.from[0], dragged.to[1] - dragged.from[1]) > 5) dragged.moved = true;
      if (dragged.moved) { tip.hidden = true; drawDrag(); }
      return;
    }
    const place = nearest(...at(event));
    root.style.cursor = place ? "pointer" : "crosshair";
    if (place) showTip(place);
    else hideTip();
  });
  root.addEventListener("pointerup", () => {
    if (!dragged?.moved) { dragged = null; return; }
    const { box, x, y } = drawn;
    const [x0, x1] = [dragged.from[0], dragged.to[0]].sort((a, b) => a - b).map((v) => Math.min(Math.max(v, box.left), box.right));
    const [y0, y1] = [dragged.from[1], dragged.to[1]].sort((a, b) => a - b).map((v) => Math.min(Math.max(v, box.top), box.bottom));
    dragged = null;
    suppressClick = true;
    setTimeout(() => { suppressClick = false; }, 0);
    if (x1 - x0 < 4 || y1 - y0 < 4) return update({});
    const ranges = { x: [x.invert(x0), x.invert(x1)], y: [y.invert(y1), y.invert(y0)] };
    if (state.drag === "zoom") update({ zoom: ranges });
    else update({ ranges: { ...state.ranges, [state.cost]: ranges.x, [state.error]: ranges.y } });
  });
  let suppressClick = false;
  root.addEventListener("click", (event) => {
    if (suppressClick) return;
    const place = nearest(...at(event), event.pointerType === "touch" ? 24 : 14);
    if (place?.net) openCard(place.net);
  });
  root.addEventListener("dblclick", () => update({ zoom: null }));
  root.addEventListener("pointerleave", hideTip);
  root.addEventListener("blur", () => { hideTip(); focus = null; });
  root.addEventListener("keydown", (event) => {
    const order = (drawn?.places ?? []).filter((p) => p.net && chosen[p.net.index]).sort((a, b) => a.x - b.x || a.y - b.y).map((p) => p.net);
    if (!order.length) return;
    const move = (list, step) => {
      if (!list.length) return;
      const i = list.indexOf(focus);
      if (i >= 0) return point(list[Math.min(Math.max(i + step, 0), list.length - 1)]);
      const here = focus ? order.indexOf(focus) : -1;
      const next = step > 0 ? list.find((net) => order.indexOf(net) > here) : [...list].reverse().find((net) => order.indexOf(net) < here);
      point(next ?? list[step > 0 ? 0 : list.length - 1]);
    };
    const onFront = order.filter((net) => drawn.onFront.has(net));
    const keys = {
      ArrowRight: () => move(order, 1),
      ArrowLeft: () => move(order, -1),
      ArrowUp: () => move(onFront, -1),
      ArrowDown: () => move(onFront, 1),
      Home: () => point(order[0]),
      End: () => point(order[order.length - 1]),
      Enter: () => focus && openCard(focus),
      Escape: () => (state.zoom ? update({ zoom: null }) : clearSelection()),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });

  // Switches: radio buttons and boxes above the chart.
  const controls = document.getElementById("switches");
  controls.addEventListener("change", (event) => {
    const { name, value, checked } = event.target;
    if (name === "cost" || name === "error") update({ [name]: value, zoom: null });
    else if (name === "scale") update({ log: value === "log", zoom: null });
    else if (name === "drag") update({ drag: value });
    else update({ [name]: checked });
  });
  document.getElementById("unzoom").addEventListener("click", () => update({ zoom: null }));
  views.push(() => {
    for (const input of controls.querySelectorAll("input")) {
      input.checked = input.type === "checkbox" ? state[input.name]
        : input.name === "scale" ? (input.value === "log") === state.log : state[input.name] === input.value;
    }
    draw();
  });
};
