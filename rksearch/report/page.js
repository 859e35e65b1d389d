"use strict";
(() => {
  // Charts: colours are names of CSS variables, so that one place defines both schemes.
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const narrow = window.matchMedia("(max-width: 640px)");

  const coloured = (value, style) => {
    if (typeof value === "string") return value.startsWith("--") ? style.getPropertyValue(value).trim() : value;
    if (Array.isArray(value)) return value.map((v) => coloured(v, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, coloured(v, style)]));
    }
    return value;
  };

  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    for (const [id, figure] of Object.entries(figures)) {
      const { data, layout } = coloured(figure, style);
      if (narrow.matches) {
        layout.margin = { ...layout.margin, l: 46, r: 8 };
        // Long names cover a small chart; they remain in the hovers and the table.
        layout.annotations = [];
        if (id === "curves") layout.showlegend = false;
        if (id === "effects") {
          // Long labels leave no room for the marks: two lines of them do.
          layout.yaxis.ticktext = layout.yaxis.ticktext.map((t) => t.replace(", period", "<br>period"));
          layout.yaxis.tickfont = { size: 9.5 };
          layout.xaxis.title.text = "Ratio of odds";
        }
        if (layout.xaxis.tickvals) {
          layout.xaxis.ticktext = layout.xaxis.ticktext.map((t, i) => (i % 2 ? "" : t));
        }
      }
      const buttons = [["zoom2d", "pan2d", "resetScale2d", "toImage"]];
      const config = { responsive: true, displaylogo: false, displayModeBar: !narrow.matches, modeBarButtons: buttons };
      Plotly.react(id, data, layout, config);
    }
  };
  draw();
  dark.addEventListener("change", draw);
  narrow.addEventListener("change", draw);

  // Tables: the heading buttons sort; missing values stay last in both directions.
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const numeric = heading.classList.contains("n");
      heading.querySelector("button").addEventListener("click", () => {
        const up = heading.getAttribute("aria-sort") !== "ascending";
        headings.forEach((h) => h.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", up ? "ascending" : "descending");
        const key = (row) => row.cells[column].dataset.v;
        const compare = (a, b) => {
          const [x, y] = [key(a), key(b)];
          if (x === "" || y === "") return (x === "") - (y === "");
          const order = numeric ? Number(x) - Number(y) : x.localeCompare(y, "en", { numeric: true });
          return up ? order : -order;
        };
        body.append(...[...body.rows].sort(compare));
      });
    });
  }

  const words = document.getElementById("filter");
  const group = document.getElementById("group");
  if (words) {
    const rows = [...document.querySelectorAll("#all tbody tr")];
    const shown = document.getElementById("shown");
    // A space between cells, so that no word is found across two of them (`1.5k` before `6` is no `k6`).
    const texts = rows.map((row) => [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase());
    const apply = () => {
      const terms = words.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const [i, row] of rows.entries()) {
        const inGroup = !group.value || row.dataset.groups.split(" ").includes(group.value);
        row.hidden = !(inGroup && terms.every((t) => texts[i].includes(t)));
        count += !row.hidden;
      }
      shown.textContent = `${count} of ${rows.length} shown`;
    };
    words.addEventListener("input", apply);
    group.addEventListener("change", apply);
    apply();
  }
})();
