// What a mark of the main chart is: in a box beside it, and aloud for those who walk by keyboard.

const nearest = (x, y, reach = 14) => {
  let best = null;
  let least = reach * reach;
  for (const place of chart.places) {
    // Of two marks on one spot that of the front counts, which is drawn on top.
    const distance = (place.x - x) ** 2 + (place.y - y) ** 2 - (place.net && chart.front.has(place.net) ? 4 : 0);
    if (distance < least) [best, least] = [place, distance];
  }
  return best;
};

const wordsOf = ({ net, published }) => {
  if (published) {
    return [published.arch, `published test error: ${published.error_pct} % (${published.source})`,
      published.same_recipe ? "trained by the recipe of this run" : "trained by another recipe than this run's",
      `${costShown().label}: ${size(published[state.cost])}`];
  }
  const lines = columns.filter((c) => c.hover && show(net, c) !== MISSING).map((c) => `${c.label}: ${show(net, c)}`);
  if (net.status !== "complete") lines.unshift(`${net.status} after ${count(net.epochs, "epoch")}; the error is that epoch's`);
  else if (net.role !== "candidate") lines.unshift(net.role === "known" ? "configuration of the paper" : net.role);
  if (net.beaten_by?.length) lines.push(`dominated by ${net.beaten_by.join(", ")}`);
  return [net.arch, ...lines];
};

const showTip = (place) => {
  const { root } = chart;
  const tip = document.getElementById("tip");
  const [name, ...rest] = wordsOf(place).map(plain);
  tip.innerHTML = [`<b>${name}</b>`, ...rest].join("<br>");
  tip.hidden = false;
  const [width, height] = [tip.offsetWidth, tip.offsetHeight];
  const left = place.x + 16 + width > root.clientWidth ? place.x - 16 - width : place.x + 16;
  tip.style.left = `${Math.max(0, left)}px`;
  tip.style.top = `${Math.min(Math.max(0, place.y - height / 2), Math.max(0, root.clientHeight - height))}px`;
  root.querySelector("#over").innerHTML = tag("circle", { class: "ring", cx: px(place.x), cy: px(place.y), r: 9 });
};

const hideTip = () => {
  document.getElementById("tip").hidden = true;
  const over = chart.root.querySelector("#over");
  if (over) over.innerHTML = "";
};

// Puts the keyboard on a network.
const point = (net, aloud = true) => {
  const place = chart.places.find((p) => p.net === net);
  if (!place) return;
  chart.focus = net;
  showTip(place);
  if (aloud) document.getElementById("said").textContent = `${wordsOf(place).join(". ")}. Enter opens it.`;
};
