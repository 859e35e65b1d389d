// Scales and frames that all interactive charts share. Charts are SVG in CSS colours: a change of scheme, printing and
// zooming need no script.

// A map from [low, high] to the pixels [from, to], linear or logarithmic.
const scaleOf = (low, high, from, to, log = false) => {
  const f = log ? Math.log10 : (v) => v;
  const [a, b] = [f(low), f(high)];
  const map = (value) => from + ((f(value) - a) / (b - a || 1)) * (to - from);
  const invert = (pixel) => {
    const v = a + ((pixel - from) / (to - from)) * (b - a);
    return log ? 10 ** v : v;
  };
  return { map, invert, low, high, log, holds: (value) => value >= low && value <= high };
};

const logTicks = (low, high) => {
  const [a, b] = [Math.log10(low), Math.log10(high)];
  const span = b - a;
  const steps = span < 0.35 ? [1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9]
    : span < 1.4 ? [1, 1.5, 2, 3, 4, 5, 7] : span < 3 ? [1, 2, 5] : [1];
  const found = [];
  for (let d = Math.floor(a); d <= Math.ceil(b); d++) for (const s of steps) found.push(s * 10 ** d);
  return found.filter((t) => t >= low && t <= high);
};

const linearTicks = (low, high, target = 6) => {
  const rough = (high - low) / target || 1;
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((f) => f * magnitude).find((s) => s >= 0.7 * rough);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high + 1e-9; i++) found.push(Number((i * step).toPrecision(10)));
  return found;
};

const ticksOf = (scale, target) =>
  scale.log ? logTicks(scale.low, scale.high) : linearTicks(scale.low, scale.high, target);

const tag = (name, attributes, content = "") => {
  const list = Object.entries(attributes).filter(([, v]) => v !== null && v !== undefined && v !== false);
  return `<${name} ${list.map(([k, v]) => `${k}="${plain(v)}"`).join(" ")}>${content}</${name}>`;
};

const px = (value) => value.toFixed(1);

// Grid, ticks and titles. An axis has title, format and scale; a `whole` one has ticks at whole numbers alone.
const frame = (box, xAxis, yAxis) => {
  const parts = [];
  let last = -Infinity;
  for (const value of ticksOf(xAxis.scale, box.width / 90)) {
    if (xAxis.whole && !Number.isInteger(value)) continue;
    const x = xAxis.scale.map(value);
    parts.push(tag("line", { class: "grid", x1: px(x), x2: px(x), y1: box.top, y2: box.bottom }));
    const label = xAxis.format(value);
    if (x - last < 8 + 7 * label.length) continue; // labels never touch
    last = x;
    parts.push(tag("text", { class: "tick", x: px(x), y: box.bottom + 17, "text-anchor": "middle" }, plain(label)));
  }
  for (const value of ticksOf(yAxis.scale, (box.bottom - box.top) / 55)) {
    const y = yAxis.scale.map(value);
    parts.push(tag("line", { class: "grid", x1: box.left, x2: box.right, y1: px(y), y2: px(y) }));
    parts.push(tag("text", { class: "tick", x: box.left - 8, y: px(y + 4), "text-anchor": "end" },
      plain(yAxis.format(value))));
  }
  parts.push(tag("line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }));
  parts.push(tag("text", { class: "axis-title", x: (box.left + box.right) / 2, y: box.bottom + 36, "text-anchor": "middle" },
    plain(xAxis.title)));
  parts.push(tag("text", { class: "axis-title", x: box.left - 40, y: box.top - 10 }, plain(yAxis.title)));
  return parts.join("");
};

// A canvas with the pixels of the screen, drawn in CSS pixels.
const canvasOf = (canvas, { width, height }) => {
  const ratio = window.devicePixelRatio || 1;
  [canvas.width, canvas.height] = [width * ratio, height * ratio];
  [canvas.style.width, canvas.style.height] = [`${width}px`, `${height}px`];
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return context;
};

// Sizes of elements in CSS pixels, which change with the window alone: asking for one makes the browser lay out the page.
let sizes = new WeakMap();
const forgetSizes = () => { sizes = new WeakMap(); };
const sizeOf = (element) => {
  if (!sizes.get(element)?.width) sizes.set(element, { width: element.clientWidth, height: element.clientHeight });
  return sizes.get(element);
};

// `tall` is the height where the element grows with its legend; else the element has its own.
const boxOf = (element, { left = 56, right = 14, top = 26, bottom = 44, tall = null } = {}) => {
  const size = sizeOf(element);
  const width = Math.max(240, size.width);
  const height = tall ?? Math.max(160, size.height);
  return { width, height, left, right: width - right, top, bottom: height - bottom };
};

const svg = (box, content, attributes = {}) =>
  tag("svg", { viewBox: `0 0 ${box.width} ${box.height}`, width: box.width, height: box.height, ...attributes }, content);

const path = (points, css, extra = {}) =>
  points.length ? tag("path", { class: css, d: "M" + points.map(([x, y]) => `${px(x)} ${px(y)}`).join("L"), ...extra }) : "";

// The least error at each cost: a line that falls and stays level to the right edge.
const stairs = (front, cost, error, right) => {
  const corners = [];
  for (const net of front) {
    if (corners.length) corners.push([net[cost], corners[corners.length - 1][1]]);
    corners.push([net[cost], net[error]]);
  }
  if (corners.length) corners.push([Math.max(right, corners[corners.length - 1][0]), corners[corners.length - 1][1]]);
  return corners;
};

// One shape for each kind of mark, so that grey pictures can be read.
const SHAPES = {
  circle: (r) => `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
  square: (r) => `M${-r} ${-r}h${2 * r}v${2 * r}h${-2 * r}z`,
  diamond: (r) => `M0 ${-1.3 * r}L${1.3 * r} 0L0 ${1.3 * r}L${-1.3 * r} 0z`,
  triangle: (r) => `M0 ${-1.2 * r}L${1.1 * r} ${0.9 * r}L${-1.1 * r} ${0.9 * r}z`,
  cross: (r) => `M${-r} ${-r}L${r} ${r}M${-r} ${r}L${r} ${-r}`,
  up: (r) => `M0 0L${r} ${1.6 * r}L${-r} ${1.6 * r}z`,
  down: (r) => `M0 0L${r} ${-1.6 * r}L${-r} ${-1.6 * r}z`,
};
const mark = (shape, x, y, r, css) =>
  tag("path", { class: `mark ${css}`, d: SHAPES[shape](r), transform: `translate(${px(x)} ${px(y)})` });

const ruler = document.createElement("canvas").getContext("2d");
const textWidth = (words, weight = 600) => {
  ruler.font = `${weight} 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif`;
  return ruler.measureText(words).width;
};

const MOST_COVERED = 0.3; // share of a label that may lie on marks and lines

// Places labels beside their marks, the first ones first. One that would cover another label or much else, or leave the
// frame, is left out: its name stands in the hover, the card and the table.
const placeLabels = (labels, marks, box) => {
  const taken = [];
  const cover = (a, b) =>
    Math.max(0, Math.min(a.x + a.w, b.x + b.w) - Math.max(a.x, b.x)) *
    Math.max(0, Math.min(a.y + a.h, b.y + b.h) - Math.max(a.y, b.y));
  const near = marks.map(([x, y, half = 5]) => ({ x: x - 5, y: y - half, w: 10, h: 2 * half }));
  const parts = [];
  for (const { x, y, words, css } of labels) {
    const [w, h] = [textWidth(words), 15];
    const places = [[x + 9, y - 7], [x - 9 - w, y - 7], [x - w / 2, y - 24], [x - w / 2, y + 10], [x + 7, y - 23],
      [x + 7, y + 9], [x - 7 - w, y - 23], [x - 7 - w, y + 9]].map(([left, top]) => ({ x: left, y: top, w, h }));
    const free = places.filter((p) => p.x >= box.left && p.x + w <= box.right + 4 && p.y >= box.top - 4 && p.y + h <= box.bottom
      && taken.every((other) => cover(p, other) === 0));
    if (!free.length) continue;
    const cost = (p) => near.reduce((sum, other) => sum + cover(p, other), 0);
    const best = free.map((p) => [cost(p), p]).reduce((a, b) => (b[0] < a[0] ? b : a))[1];
    if (cost(best) > MOST_COVERED * w * h) continue;
    taken.push(best);
    parts.push(tag("text", { class: `label ${css}`, x: px(best.x), y: px(best.y + 12) }, plain(words)));
  }
  return parts.join("");
};
