// The card of one network. Its address is `#net=NAME`, so that a link opens it.

const openCard = (net) => {
  const wanted = `#net=${encodeURIComponent(net.arch)}`;
  if (location.hash === wanted) showCard(net);
  else location.hash = wanted;
};

const quoted = (word) => (/^[\w@:.,/+=-]+$/.test(word) ? word : `'${word.replace(/'/g, `'\\''`)}'`);

// They are typed in the directory of the run, which the page does not know; one that would not do there what it says is
// left out.
const commandsOf = (net) => {
  const { run, dataset, train } = payload.commands;
  const name = quoted(net.arch);
  const found = [];
  if (dataset) found.push(["describe", `rksearch describe ${name} --dataset ${quoted(dataset)} --draw network.svg`]);
  if (train) found.push(["train", `rksearch train ${name} ${train.map(quoted).join(" ")}`]);
  if (net.trial) found.push(["export", `rksearch export ${quoted(`${run}:${net.trial}`)} --to network`]);
  // Trainings of the control arm are not read: a network that it alone has trained is trained again.
  if (net.status === "complete") found.push(["final", `rksearch final ${quoted(run)} --arch ${name}${net.role === "control" ? " --fresh 3" : ""}`]);
  return found;
};

const commandList = (net) => {
  const found = commandsOf(net).map(([what, words]) => `<div><dt>${what}</dt><dd><code>${plain(words)}</code>
    <button type="button" data-copy="${plain(words)}">Copy</button></dd></div>`);
  return found.length ? `<h3>Commands, in the directory of the run</h3><dl class="commands">${found.join("")}</dl>` : "";
};

// Parts of a drawing are shared by many networks; they are put side by side here.
const drawingOf = (net) => {
  const found = payload.drawings.of[net.index];
  if (!found) return "";
  const { parts, part_width: wide, gap, margin } = payload.drawings;
  const height = Math.max(...found.map((i) => parts[i].height)) + 2 * margin;
  const width = found.length * (wide + gap) - gap + 2 * margin;
  const flow = (x) => `<path class="flow" d="M${x - gap + 2} ${margin + 22}H${x - 5}m-4 -3l4 3l-4 3"/>`;
  const drawn = found.map((part, i) => {
    const x = margin + i * (wide + gap);
    return `${i ? flow(x) : ""}<g transform="translate(${x} ${margin})">${parts[part].svg}</g>`;
  });
  return `<div class="scroll drawing" tabindex="0" role="region" aria-label="Drawing of ${plain(net.arch)}"><svg class="figure" viewBox="0 0 ${width} ${height}"
    width="${width}" height="${height}" role="img" aria-label="${plain(net.arch)}">${drawn.join("")}</svg></div>`;
};

const periodTable = (net) => {
  if (!net.s?.length) return "";
  const line = (label, values) => (values.length ? `<tr><th scope="row">${label}</th>${values.map((v) => `<td class="n">${plain(v)}</td>`).join("")}</tr>` : "");
  return `<table class="small"><thead><tr><th scope="col">Period</th>${net.s.map((_, i) => `<th scope="col" class="n">${i + 1}</th>`).join("")}</tr></thead>
    <tbody>${line("growth multiple m", net.m)}${line("stages s", net.s)}${line("time-steps r", net.r)}${line("shared", net.share)}${net.method ? line("method", net.method) : ""}</tbody></table>`;
};

const neighbourTable = (net) => {
  const found = neighbours(net);
  if (!found.length) return "";
  const gap = (other) => {
    if (!Number.isFinite(net[COMPARED]) || !Number.isFinite(other[COMPARED])) return MISSING;
    const value = other[COMPARED] - net[COMPARED];
    return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
  };
  return `<h3>Nearest networks that were trained</h3><div class="scroll"><table class="small"><thead><tr><th scope="col">Network</th><th scope="col">Differs in</th>
    <th scope="col" class="n">Error</th><th scope="col" class="n">Difference</th></tr></thead><tbody>${found.map(({ net: other, changes }) =>
      `<tr><th scope="row"><a href="#net=${encodeURIComponent(other.arch)}">${plain(other.arch)}</a></th><td>${plain(changes.join(", "))}</td>
      <td class="n">${Number.isFinite(other[COMPARED]) ? `${other[COMPARED].toFixed(2)} %` : MISSING}</td><td class="n">${gap(other)}</td></tr>`).join("")}</tbody></table></div>`;
};

const showCard = (net) => {
  const card = document.getElementById("card");
  const fact = (c) => `<div><dt title="${plain(c.note)}">${plain(c.label)}</dt><dd>${plain(show(net, c))}</dd></div>`;
  const facts = columns.filter((c) => c.card && show(net, c) !== MISSING && show(net, c) !== "");
  const seeds = (key) => (net[key]?.length ? net[key].map((e) => `${e.toFixed(2)} %`).join(", ") : null);
  const perSeed = payload.errors.filter((e) => e.seeds && seeds(e.seeds)).map((e) => `<div class="wide"><dt>${plain(e.label)}, each seed</dt><dd>${seeds(e.seeds)}</dd></div>`);
  document.getElementById("card-title").textContent = net.arch;
  document.getElementById("card-body").innerHTML = `
    <p class="lead">${plain([net.role === "known" ? "configuration of the paper" : net.role, net.status === "complete" ? "" : `${net.status} after ${count(net.epochs, "epoch")}`,
      net.message ?? "", net.on_front ? "on the front of parameters" : "", net.on_macs_front ? "on the front of MACs" : ""].filter(Boolean).join("; "))}.
      ${net.p_front === null || net.p_front === undefined ? "" : plain(payload.p_front_note)}</p>
    <dl class="pairs">${facts.map(fact).join("")}${perSeed.join("")}${
      net.counted === null || net.counted === undefined ? "" : `<div class="wide"><dt>Second count, of the built network</dt><dd>parameters and fvcore flops ${
        net.counted ? "are the same" : "differ: counts are in doubt"}</dd></div>`}</dl>
    ${drawingOf(net)}${periodTable(net)}
    <h3>Learning curves of ${count((payload.curves[net.index] ?? []).length, "training")}</h3><div class="plot" id="card-curves"></div>
    ${neighbourTable(net)}
    ${commandList(net)}`;
  if (!card.open) card.showModal();
  for (const scroller of card.querySelectorAll(".scroll")) cueMore(scroller);
  document.getElementById("card-body").scrollTop = 0;
  drawCurves(document.getElementById("card-curves"), curvesOf(net).map((run) => ({ points: run.points, css: isBaseline(net) ? "base" : "front", title: `seed ${run.replicate}`, strong: true })),
    payload.errors[0].label);
};

const copy = async (button) => {
  const words = button.dataset.copy;
  try {
    await navigator.clipboard.writeText(words);
  } catch {
    // A page that was opened from a file may not reach the clipboard: the words are selected for the reader to copy.
    getSelection().selectAllChildren(button.parentElement.querySelector("code"));
    button.textContent = "Selected";
    return;
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
};

const startCards = () => {
  const card = document.getElementById("card");
  const follow = () => {
    const name = new URLSearchParams(location.hash.slice(1)).get("net");
    const net = name === null ? null : byName.get(name);
    if (net) showCard(net);
    else if (card.open) card.close();
  };
  card.addEventListener("close", () => {
    // The address forgets the card without a jump of the page.
    if (location.hash.startsWith("#net=")) history.replaceState(null, "", location.pathname + location.search);
  });
  card.addEventListener("click", (event) => {
    if (event.target === card || event.target.closest("#card-close")) card.close();
    const button = event.target.closest("button[data-copy]");
    if (button) copy(button);
  });
  addEventListener("hashchange", follow);
  follow();
};
