// The main chart's legend: an entry for each kind of mark that is there.

const sample = (content) => `<svg width="22" height="14" aria-hidden="true">${content}</svg>`;
const line = (css) => `<path class="step ${css}" d="M0 7H22"/>`;

const drawLegend = (marked) => {
  const kinds = new Set(marked.map(({ kind }) => kind));
  const published = publishedShown();
  const dense = marked.length > CROWD ? ", darker where dense" : "";
  const seeds = state.seeds && marked.some(({ net }) => seedsOf(net).length);
  const entries = [
    [kinds.has("front"), line("front") + mark("circle", 11, 7, 4.4, "front"), "front of Runge-Kutta networks"],
    [kinds.has("base"), line("base") + mark("square", 11, 7, 4.4, "base"), "baselines and their front"],
    [kinds.has("other"), mark("circle", 11, 7, 4.4, "other"), `other Runge-Kutta networks${dense}`],
    [marked.some(({ net }) => net.role === "known" && net.status === "complete"), mark("diamond", 11, 7, 4.4, "other"), "configuration of the paper"],
    [kinds.has("control"), mark("triangle", 11, 7, 4.4, "control"), "control"],
    [kinds.has("pruned"), mark("cross", 11, 7, 4.4, "pruned"), "not trained to the end, last error"],
    [payload.band[state.cost] && errorShown().band, '<rect class="band" width="22" height="14"/>', payload.band_label],
    [seeds, '<path class="spread front" d="M11 1V13"/><circle class="seed front" cx="11" cy="3" r="2"/><circle class="seed front" cx="11" cy="11" r="2"/>', "single seeds"],
    [published.some((p) => p.same_recipe), mark("circle", 11, 7, 4.4, "published"), "published test error, same recipe"],
    [published.some((p) => !p.same_recipe), mark("circle", 11, 7, 4.4, "published other-recipe"), "published test error, another recipe"],
  ];
  document.getElementById("legend").innerHTML = entries.filter(([there]) => there)
    .map(([, content, words]) => `<li>${sample(content)}${plain(words)}</li>`).join("");
};
