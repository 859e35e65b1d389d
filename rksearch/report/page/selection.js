// One selection for the whole page: chips, words, and ranges of fields (drawn on the chart or on parallel axes).

const state = {
  cost: payload.costs[0].field,
  error: payload.errors[0].field,
  log: false,
  seeds: true,
  published: payload.published.some((p) => p.same_recipe),
  drag: "select",
  zoom: null,
  ladder: null, // the ladder in sight
  words: "",
  chips: {}, // by group, the values that are pressed
  ranges: {}, // by field, [low, high]
  sort: { field: payload.sort, up: true },
};

const chosen = new Uint8Array(nets.length).fill(1);
let chosenCount = nets.length;
const isFiltered = () => chosenCount < nets.length;

// Words are looked for in what the table shows; a space between cells, so that none is found across two of them.
const texts = nets.map((net) => columns.filter((c) => c.column).map((c) => show(net, c)).join(" ").toLowerCase());

const sharing = (net) =>
  !net.share?.length ? "no choice" : net.share.every((v) => v === "yes") ? "all periods"
    : net.share.some((v) => v === "yes") ? "some periods" : "none";

const GROUPS = [
  { name: "Role", of: (net) => net.role },
  { name: "Front", of: (net) => (net.on_front ? "parameters" : net.on_macs_front ? "MACs only" : "neither") },
  { name: "Status", of: (net) => net.status },
  { name: "Family", of: (net) => net.family },
  { name: "Sharing", of: sharing },
  { name: "Parameters", of: (net) => net.band },
];
for (const group of GROUPS) {
  group.values = nets.map((net) => String(group.of(net) ?? MISSING));
  group.counts = new Map();
  for (const value of group.values) group.counts.set(value, (group.counts.get(value) ?? 0) + 1);
}

const select = () => {
  const terms = state.words.toLowerCase().split(/\s+/).filter(Boolean);
  const pressed = GROUPS.filter((group) => state.chips[group.name]?.size);
  const ranges = Object.entries(state.ranges).map(([key, ends]) => [readerOf(key), ...ends]);
  chosenCount = 0;
  nets.forEach((net, i) => {
    const kept =
      pressed.every((group) => state.chips[group.name].has(group.values[i])) &&
      ranges.every(([read, low, high]) => {
        const value = read(net);
        return value !== null && value >= low && value <= high;
      }) &&
      terms.every((term) => texts[i].includes(term));
    chosen[i] = kept ? 1 : 0;
    chosenCount += chosen[i];
  });
};

const views = []; // functions that draw; each is called once after a change, before the next picture
let waiting = false;
const update = (changes) => {
  Object.assign(state, changes);
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    select();
    for (const view of views) view();
  });
};

const toggleChip = (group, value) => {
  const values = new Set(state.chips[group] ?? []);
  if (!values.delete(value)) values.add(value);
  update({ chips: { ...state.chips, [group]: values } });
};
const setRange = (key, range) => {
  const ranges = { ...state.ranges };
  if (range) ranges[key] = range;
  else delete ranges[key];
  update({ ranges });
};
const clearSelection = () => {
  document.getElementById("filter").value = "";
  update({ words: "", chips: {}, ranges: {} });
};

const nameOfKey = (key) => {
  const [field, place] = key.split(":");
  const label = payload.labels[field] ?? field;
  return place === undefined ? label : `${label}, period ${Number(place) + 1}`;
};

// Chips: buttons that are pressed or not. Within a group any pressed value is kept, across groups all must hold.
const drawChips = () => {
  const root = document.getElementById("chips");
  const parts = [];
  for (const group of GROUPS) {
    if (group.counts.size < 2) continue;
    const values = [...group.counts].sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
    const order = group.name === "Parameters" ? [...new Set(payload.bands)].filter((b) => group.counts.has(b)) : null;
    const listed = order ? order.map((b) => [b, group.counts.get(b)]) : values;
    const buttons = listed.map(([value, number]) => {
      const on = state.chips[group.name]?.has(value) ?? false;
      return `<button type="button" class="chip" aria-pressed="${on}" data-group="${plain(group.name)}"
        data-value="${plain(value)}">${plain(value)} <small>${number.toLocaleString("en")}</small></button>`;
    });
    parts.push(`<div class="chip-group" role="group" aria-label="${plain(group.name)}"><span>${plain(group.name)}</span>
      ${buttons.join("")}</div>`);
  }
  const ranges = Object.entries(state.ranges).map(([key, [low, high]]) =>
    `<button type="button" class="chip range" aria-pressed="true" data-range="${plain(key)}"
      aria-label="Remove the range of ${plain(nameOfKey(key))}">${plain(nameOfKey(key))}
      ${tick(low)}–${tick(high)} <b aria-hidden="true">×</b></button>`);
  if (ranges.length) {
    parts.push(`<div class="chip-group" role="group" aria-label="Ranges"><span>Ranges</span>${ranges.join("")}</div>`);
  }
  const focused = document.activeElement?.closest?.("#chips button")?.dataset;
  root.innerHTML = parts.join("");
  if (focused) {
    const same = [...root.querySelectorAll("button")].find((b) => b.dataset.group === focused.group
      && b.dataset.value === focused.value && b.dataset.range === focused.range);
    same?.focus();
  }
  for (const shown of document.querySelectorAll("[data-shown]")) {
    shown.textContent = isFiltered() ? `${chosenCount.toLocaleString("en")} of ${count(nets.length, "network")} selected`
      : `${nets.length > 1 ? "all " : ""}${count(nets.length, "network")}`;
  }
  document.getElementById("clear").hidden = !isFiltered();
};

const startChips = () => {
  document.getElementById("chips").addEventListener("click", (event) => {
    const { group, value, range } = event.target.closest("button")?.dataset ?? {};
    if (range) setRange(range, null);
    else if (group) toggleChip(group, value);
  });
  document.getElementById("clear").addEventListener("click", clearSelection);
  const words = document.getElementById("filter");
  words.addEventListener("input", () => update({ words: words.value }));
  views.push(drawChips);
};
