// Pointer, keyboard and switches of the main chart.

const sorted = (a, b) => [Math.min(a, b), Math.max(a, b)];
const within = (value, low, high) => Math.min(Math.max(value, low), high);

const startPointer = () => {
  const { root } = chart;
  let dragged = null;
  let afterDrag = false; // the click that ends a drag opens nothing
  const at = (event) => {
    const bounds = root.getBoundingClientRect();
    return [event.clientX - bounds.left, event.clientY - bounds.top];
  };
  root.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch") return; // a finger scrolls
    dragged = { from: at(event), to: at(event), moved: false };
    root.setPointerCapture(event.pointerId);
  });
  root.addEventListener("pointermove", (event) => {
    if (!dragged) {
      const place = nearest(...at(event));
      root.style.cursor = place ? "pointer" : "crosshair";
      if (place) showTip(place);
      else hideTip();
      return;
    }
    dragged.to = at(event);
    dragged.moved ||= Math.hypot(dragged.to[0] - dragged.from[0], dragged.to[1] - dragged.from[1]) > 5;
    if (!dragged.moved) return;
    hideTip();
    const [[left, right], [top, bottom]] = [0, 1].map((i) => sorted(dragged.from[i], dragged.to[i]));
    root.querySelector("#over").innerHTML = tag("rect", { class: "brush", x: px(left), y: px(top), width: px(right - left), height: px(bottom - top) });
  });
  root.addEventListener("pointerup", () => {
    const done = dragged;
    dragged = null;
    if (!done?.moved) return;
    afterDrag = true;
    setTimeout(() => { afterDrag = false; }, 0);
    const { box, x, y } = chart;
    const [left, right] = sorted(done.from[0], done.to[0]).map((v) => within(v, box.left, box.right));
    const [top, bottom] = sorted(done.from[1], done.to[1]).map((v) => within(v, box.top, box.bottom));
    if (right - left < 4 || bottom - top < 4) { update({}); return; }
    const ranges = { x: [x.invert(left), x.invert(right)], y: [y.invert(bottom), y.invert(top)] };
    if (state.drag === "zoom") update({ zoom: ranges });
    else update({ ranges: { ...state.ranges, [state.cost]: ranges.x, [state.error]: ranges.y } });
  });
  root.addEventListener("click", (event) => {
    if (afterDrag) return;
    const place = nearest(...at(event), event.pointerType === "touch" ? 24 : 14);
    if (place?.net) openCard(place.net);
  });
  root.addEventListener("dblclick", () => update({ zoom: null }));
  root.addEventListener("pointerleave", hideTip);
};

const startKeyboard = () => {
  const { root } = chart;
  // Steps to the next of a list; from a network outside of it, to the next in the order of the chart.
  const step = (order, list, by) => {
    if (!list.length) return;
    const i = list.indexOf(chart.focus);
    if (i >= 0) { point(list[within(i + by, 0, list.length - 1)]); return; }
    const here = order.indexOf(chart.focus);
    const ahead = by > 0 ? list.find((net) => order.indexOf(net) > here) : list.findLast((net) => order.indexOf(net) < here);
    point(ahead ?? list[by > 0 ? 0 : list.length - 1]);
  };
  root.addEventListener("keydown", (event) => {
    const order = chart.places.filter(({ net }) => net && chosen[net.index]).sort((a, b) => a.x - b.x || a.y - b.y).map(({ net }) => net);
    const front = order.filter((net) => chart.front.has(net));
    const keys = {
      ArrowRight: () => step(order, order, 1),
      ArrowLeft: () => step(order, order, -1),
      ArrowDown: () => step(order, front, 1),
      ArrowUp: () => step(order, front, -1),
      Home: () => order.length && point(order[0]),
      End: () => order.length && point(order[order.length - 1]),
      Enter: () => order.includes(chart.focus) && openCard(chart.focus),
      Escape: () => (state.zoom ? update({ zoom: null }) : clearSelection()),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  // The place is kept: a card takes the focus, and gives it back when it closes.
  root.addEventListener("blur", hideTip);
  root.addEventListener("focus", () => { if (chart.focus && root.matches(":focus-visible")) point(chart.focus, false); });
};

const startSwitches = () => {
  const controls = document.getElementById("switches");
  controls.addEventListener("change", ({ target: { name, value, checked } }) => {
    if (name === "cost" || name === "error") update({ [name]: value, zoom: null });
    else if (name === "scale") update({ log: value === "log", zoom: null });
    else if (name === "drag") update({ drag: value });
    else update({ [name]: checked, zoom: null });
  });
  document.getElementById("unzoom").addEventListener("click", () => update({ zoom: null }));
  views.push(() => {
    for (const input of controls.querySelectorAll("input")) {
      input.checked = input.type === "checkbox" ? state[input.name]
        : input.name === "scale" ? (input.value === "log") === state.log : state[input.name] === input.value;
    }
  });
};
