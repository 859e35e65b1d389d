// The table of all networks: only the rows in sight exist, so that ten thousand scroll like ten.

const ROW = 31; // height of a row in CSS pixels, as in the style sheet
const TALL = 640; // largest height of the table, as in the style sheet
const PRINTED = 200; // maximum number of rows on paper

const allTable = () => {
  const scroller = document.getElementById("all-scroll");
  const table = document.getElementById("all");
  const body = table.tBodies[0];
  const shownColumns = columns.filter((c) => c.column);
  let rows = [];
  let from = -1, to = -1;
  let top = 0; // how far it is scrolled; a shorter table is scrolled back by the browser, which says so
  let printing = false; // paper's rows stay until it is done, whatever scrolls or redraws meanwhile

  const head = () => {
    table.tHead.innerHTML = `<tr>${shownColumns.map((c) => {
      const active = state.sort.field === c.field;
      const order = active ? ` aria-sort="${state.sort.up ? "ascending" : "descending"}"` : "";
      return `<th scope="col"${c.number ? ' class="n"' : ""}${order}${c.note ? ` title="${plain(c.note)}"` : ""}><button type="button" data-field="${
        plain(c.field)}">${plain(c.label)}</button></th>`;
    }).join("")}</tr>`;
  };
  const compare = (a, b) => {
    const { field, up } = state.sort;
    const [x, y] = [a[field], b[field]].map((v) => (Array.isArray(v) ? v.join("_") : typeof v === "boolean" ? Number(v) : v));
    const missing = (v) => v === null || v === undefined || v === "";
    if (missing(x) || missing(y)) return missing(x) - missing(y); // last in both directions
    const order = typeof x === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
    return (up ? order : -order) || a.index - b.index;
  };
  const rowOf = (net, place) => {
    const css = [isBaseline(net) ? "base" : net.on_front ? "front" : "", net.status === "complete" ? "" : "pale"].join(" ").trim();
    const cells = shownColumns.map((c, i) => {
      const words = plain(show(net, c));
      return i === 0 ? `<th scope="row"><a href="#net=${encodeURIComponent(net.arch)}">${words}</a></th>` : `<td${c.number ? ' class="n"' : ""}>${words}</td>`;
    });
    return `<tr class="${css}" aria-rowindex="${place + 2}" data-net="${net.index}">${cells.join("")}</tr>`;
  };
  const rowsInSight = (again = false) => {
    if (printing) return;
    const first = Math.max(0, Math.floor(Math.min(top, rows.length * ROW) / ROW) - 12);
    const last = Math.min(rows.length, first + Math.ceil(TALL / ROW) + 24);
    if (!again && first === from && last === to) return;
    [from, to] = [first, last];
    const gap = (height) => (height ? `<tr class="gap" aria-hidden="true" style="height:${height}px"><td colspan="${shownColumns.length}"></td></tr>` : "");
    const focused = document.activeElement?.closest?.("#all tbody tr")?.dataset.net;
    body.innerHTML = gap(first * ROW) + rows.slice(first, last).map((net, i) => rowOf(net, first + i)).join("") + gap((rows.length - last) * ROW);
    if (focused) body.querySelector(`tr[data-net="${focused}"] a`)?.focus({ preventScroll: true });
  };
  scroller.addEventListener("scroll", () => { top = scroller.scrollTop; rowsInSight(); }, { passive: true });
  table.tHead.addEventListener("click", (event) => {
    const field = event.target.closest("button")?.dataset.field;
    if (!field) return;
    update({ sort: { field, up: state.sort.field === field ? !state.sort.up : true } });
  });
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-net]");
    if (row && !event.target.closest("a")) openCard(nets[Number(row.dataset.net)]);
  });
  views.push(() => {
    const field = document.activeElement?.closest?.("#all thead button")?.dataset.field;
    rows = nets.filter((net) => chosen[net.index]).sort(compare);
    table.setAttribute("aria-rowcount", rows.length + 1);
    head();
    if (field) table.tHead.querySelector(`button[data-field="${field}"]`)?.focus({ preventScroll: true });
    scroller.style.height = `${Math.min(TALL, (rows.length + 1) * ROW + 24)}px`;
    rowsInSight(true);
  });
  // Paper has no scroll bars: a small selection is printed whole, and of a large one its first rows in the order shown.
  addEventListener("beforeprint", () => {
    printing = true;
    const rest = rows.length - PRINTED;
    const note = rest > 0 ? `<tr><td colspan="${shownColumns.length}">${count(rest, "further network")} of the selection in trials.csv</td></tr>` : "";
    body.innerHTML = rows.slice(0, PRINTED).map(rowOf).join("") + note;
  });
  addEventListener("afterprint", () => { printing = false; rowsInSight(true); });
};
