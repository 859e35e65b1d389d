// The two ladders, by parameters and by MACs: one in sight, the other behind a switch. It follows the cost of the chart.

const startLadder = () => {
  const rungs = [...document.querySelectorAll("[data-ladder]")];
  const switches = [...document.querySelectorAll('input[name="ladder"]')];
  if (!switches.length) return;
  const show = (id) => {
    for (const rung of rungs) rung.hidden = rung.dataset.ladder !== id;
    for (const input of switches) input.checked = input.value === id;
  };
  for (const input of switches) input.addEventListener("change", () => show(input.value));
  let last = state.cost;
  show(switches[0].value);
  views.push(() => {
    if (state.cost === last) return;
    last = state.cost;
    const same = rungs.find((rung) => rung.dataset.ladder === `ladder-${state.cost}`);
    if (same) show(same.dataset.ladder);
  });
  // On paper both stand.
  addEventListener("beforeprint", () => { for (const rung of rungs) rung.hidden = false; });
  addEventListener("afterprint", () => show(switches.find((input) => input.checked).value));
};
