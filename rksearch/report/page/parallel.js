// Parallel coordinates: one axis for each choice, cost and the error; a line for each network. Dragging along an axis keeps
// the networks within that range.

const MOST_LINES = 1500; // of more networks some are drawn, evenly taken
const MOST_PALE = 400;

const some = (list, most) => (list.length <= most ? list : Array.from({ length: most }, (_, i) => list[Math.floor((i * list.length) / most)]));

const parallelChart = () => {
  const root = document.getElementById("parallel");
  const canvas = root.querySelector("canvas");
  const paper = root.querySelector(".paper");
  const spreads = new Map(); // ends of each axis, which never change
  const spread = (key) => {
    if (!spreads.has(key)) {
      const values = nets.map(readerOf(key)).filter(Number.isFinite);
      const [low, high] = [values.reduce((a, b) => Math.min(a, b), Infinity), values.reduce((a, b) => Math.max(a, b), -Infinity)];
      spreads.set(key, low < high ? [low, high] : null);
    }
    return spreads.get(key);
  };
  const periods = Math.max(0, ...nets.map((net) => net.s?.length ?? 0));
  const choices = [{ key: "growth_rate", label: "k" }];
  for (let i = 0; i < periods; i++) {
    for (const [field, label] of [["m", "m"], ["s", "s"], ["r", "r"], ["share", "shared"]]) choices.push({ key: `${field}:${i}`, label: `${label}${i + 1}` });
  }
  let axes = [];
  let dragged = null;

  const draw = () => {
    const fields = [...choices, ...payload.costs.map((c) => ({ key: c.field, label: c.short, log: true })), { key: state.error, label: "error, %" }];
    axes = fields.map((axis) => ({ ...axis, read: readerOf(axis.key), ends: spread(axis.key) })).filter((axis) => axis.ends);
    if (!axes.length) { paper.innerHTML = "<p>All networks have the same choices, costs and error.</p>"; return; }
    const size = sizeOf(root);
    const width = Math.max(size.width, 62 * axes.length);
    const box = { width, height: size.height, left: 34, right: width - 40, top: 34, bottom: size.height - 18 };
    axes.forEach((axis, i) => {
      axis.x = box.left + (i / Math.max(1, axes.length - 1)) * (box.right - box.left);
      axis.scale = scaleOf(...axis.ends, box.bottom, box.top, Boolean(axis.log) && axis.ends[0] > 0);
    });
    const context = canvasOf(canvas, box);
    const style = getComputedStyle(root);
    const lines = nets.filter((net) => net.status !== "failed" && !isBaseline(net));
    const passes = [
      ["--grid-strong", some(lines.filter((net) => !chosen[net.index]), MOST_PALE), 0.12, 1],
      ["--crowd", some(lines.filter((net) => chosen[net.index] && !net.on_front), MOST_LINES), null, 1],
      ["--front", lines.filter((net) => chosen[net.index] && net.on_front), 0.9, 1.6],
    ];
    for (const [colour, group, opacity, wide] of passes) {
      context.strokeStyle = style.getPropertyValue(colour);
      context.globalAlpha = opacity ?? Math.min(0.6, Math.max(0.06, 60 / Math.max(1, group.length)));
      context.lineWidth = wide;
      for (const net of group) {
        context.beginPath();
        let pen = false;
        for (const axis of axes) {
          const value = axis.read(net);
          if (!Number.isFinite(value)) { pen = false; continue; }
          const y = axis.scale.map(value);
          if (pen) context.lineTo(axis.x, y);
          else context.moveTo(axis.x, y);
          pen = true;
        }
        context.stroke();
      }
    }
    const number = (axis, value) => (axis.key.startsWith("share") ? (value ? "yes" : "no") : axis.log ? tick(value) : `${Number(value.toFixed(2))}`);
    paper.innerHTML = svg({ width, height: box.height }, axes.map((axis) => {
      const range = state.ranges[axis.key];
      const shown = range ? range.map((v) => axis.scale.map(Math.min(Math.max(v, axis.ends[0]), axis.ends[1]))) : null;
      return tag("line", { class: "axis", x1: px(axis.x), x2: px(axis.x), y1: box.top, y2: box.bottom })
        + tag("text", { class: "axis-title", x: px(axis.x), y: 14, "text-anchor": "middle" }, plain(axis.label))
        + tag("text", { class: "tick halo", x: px(axis.x), y: box.top - 6, "text-anchor": "middle" }, number(axis, axis.ends[1]))
        + tag("text", { class: "tick halo", x: px(axis.x), y: box.bottom + 14, "text-anchor": "middle" }, number(axis, axis.ends[0]))
        + (shown ? tag("rect", { class: "brush", x: px(axis.x - 7), y: px(shown[1]), width: 14, height: px(Math.max(2, shown[0] - shown[1])) }) : "");
    }).join("") + '<g class="over"></g>', { "aria-hidden": "true" });
    root.setAttribute("aria-label", `Parallel coordinates of ${count(chosenCount, "selected network")} over ${axes.map((a) => a.label).join(", ")}. `
      + "The chips above filter by the same choices.");
  };

  const at = (event) => {
    const bounds = paper.getBoundingClientRect();
    return [event.clientX - bounds.left, event.clientY - bounds.top];
  };
  paper.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch") return;
    const [x, y] = at(event);
    const axis = axes.reduce((a, b) => (Math.abs(b.x - x) < Math.abs(a.x - x) ? b : a));
    if (Math.abs(axis.x - x) > 14) return;
    dragged = { axis, from: y, to: y };
    paper.setPointerCapture(event.pointerId);
  });
  paper.addEventListener("pointermove", (event) => {
    const [x, y] = at(event);
    paper.style.cursor = axes.some((a) => Math.abs(a.x - x) <= 14) ? "ns-resize" : "default";
    if (!dragged) return;
    dragged.to = y;
    const [top, bottom] = [dragged.from, y].sort((a, b) => a - b);
    paper.querySelector(".over").innerHTML = tag("rect", { class: "brush", x: px(dragged.axis.x - 7), y: px(top), width: 14, height: px(bottom - top) });
  });
  paper.addEventListener("pointerup", () => {
    if (!dragged) return;
    const { axis, from, to } = dragged;
    dragged = null;
    if (Math.abs(from - to) < 4) return setRange(axis.key, null); // a click on an axis removes its range
    const [low, high] = [Math.max(from, to), Math.min(from, to)].map(axis.scale.invert);
    setRange(axis.key, [low, high]);
  });
  views.push(draw);
};
