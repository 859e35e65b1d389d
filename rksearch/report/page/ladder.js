// The two ladders, by parameters and by MACs: one in sight, the other behind a switch. It follows the cost of the chart
// until the reader chooses another one; a reload keeps either.

const startLadder = () => {
  const rungs = [...document.querySelectorAll("[data-ladder]")];
  const switches = [...document.querySelectorAll('input[name="ladder"]')];
  if (!switches.length) return;
  const show = (id) => {
    for (const rung of rungs) rung.hidden = rung.dataset.ladder !== id;
    for (const input of switches) input.checked = input.value === id;
  };
  const choose = (id) => {
    state.ladder = id;
    show(id);
  };
  const offered = switches.map((input) => input.value);
  const ofCost = () => offered.find((id) => id === `ladder-${state.cost}`);
  for (const input of switches) input.addEventListener("change", () => choose(input.value));
  let last = state.cost;
  choose(offered.includes(state.ladder) ? state.ladder : ofCost() ?? offered[0]);
  views.push(() => {
    if (state.cost === last) return;
    last = state.cost;
    choose(ofCost() ?? state.ladder);
  });
  // On paper both stand.
  addEventListener("beforeprint", () => { for (const rung of rungs) rung.hidden = false; });
  addEventListener("afterprint", () => show(state.ladder));
};
