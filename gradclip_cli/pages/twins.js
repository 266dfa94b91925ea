// Twins: both runs of a seed side by side, opened from the figure of differences or from the lists beneath it.
const twinsOf = (look, arm, seed) => {
  const named = look.paired ? [arm, look.baseline] : [arm];
  return named.map((name) => ({name, place: looked.runs.of[name].findIndex((run) => run.seed === seed)}))
    .filter(({place}) => place >= 0)
    .map(({name, place}) => ({name, run: looked.runs.of[name][place], score: looked.metrics[look.metric].scores[name][place]}));
};
const shownColumns = (look) => {
  const column = looked.metrics[look.metric].column;
  const beside = column === "loss" ? "val_loss" : "loss";
  return [column, beside].filter((name) => name in looked.runs.columns);
};
const tableOf = (caption, columns, rows) => {
  const heads = columns.map((text) => make("th", {scope: "col", textContent: text}));
  const cells = (row) => row.map((text, place) => place
    ? make("td", {textContent: text}) : make("th", {scope: "row", className: "text", textContent: text}));
  heads[0].className = "text";
  const table = make(
    "table", {}, make("caption", {textContent: caption}), make("thead", {}, make("tr", {}, ...heads)),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...cells(row)))));
  const box = make("div", {className: "scrolls", tabIndex: 0}, table);
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", caption);
  return box;
};
const curvesTable = (look, twins) => {
  const columns = shownColumns(look);
  const heads = columns.flatMap((column) => twins.map(({name}) => `${looked.runs.columns[column]}, ${name}`));
  const rows = looked.runs.epochs.map((epoch, place) => [
    String(epoch), ...columns.flatMap((column) => twins.map(({run}) => String(run.curves[column]?.[place] ?? "-")))]);
  return tableOf("By epoch, as recorded", ["epoch", ...heads], rows.filter((row) => row.slice(1).some((text) => text !== "-")));
};
const twinsDialog = () => {
  const heading = make("h2", {id: "twins-heading"});
  const told = make("p");
  const facts = make("div");
  const charts = make("div", {className: "panels charts"});
  const numbers = make("details", {}, make("summary", {textContent: "The curves as numbers"}), make("div"));
  const note = make("p", {className: "note", textContent: `Curves are as recorded, not as scored. ${looked.runs.note}`.trim()});
  const dialog = make("dialog", {id: "twins"});
  const button = (text, listener) => {
    const made = make("button", {type: "button", textContent: text});
    made.addEventListener("click", listener);
    return made;
  };
  const show = (arm, seed) => {
    const look = currentLook();
    const {seeds, values} = look.differences[arm];
    const twins = twinsOf(look, arm, seed);
    const metric = looked.metrics[look.metric];
    const difference = values[seeds.indexOf(seed)];
    const better = (difference > 0) === metric.higher ? "to the better" : "to the worse";
    Object.assign(dialog.dataset, {arm, seed});
    heading.textContent = look.paired ? `Seed ${seed}: ${arm} and its twin in ${look.baseline}` : `Run ${seed} of ${arm}`;
    const from = look.paired ? look.baseline : `what ${look.baseline} typically has`;
    told.textContent = `Difference in ${metric.title} from ${from}: ${inUnit(difference, metric)}`
      + `${difference ? `, ${better}` : ", none"}.`;
    const rows = twins.map(({name, run, score}) => [name, score, run.status, run.clipped]);
    facts.replaceChildren(tableOf("The runs", ["run", `${metric.heading}, as scored`, "status", "clipped steps"], rows));
    numbers.lastChild.replaceChildren(curvesTable(look, twins));
    if (!dialog.open) dialog.showModal();
    document.dispatchEvent(new CustomEvent("twins", {detail: {twins, charts, columns: shownColumns(look)}}));
  };
  const step = (by) => {
    const {arm, seed} = dialog.dataset;
    const {seeds} = currentLook().differences[arm];
    show(arm, seeds.at((seeds.indexOf(Number(seed)) + by) % seeds.length));
  };
  const buttons = [["Previous seed", () => step(-1)], ["Next seed", () => step(1)], ["Close", () => dialog.close()]];
  told.setAttribute("role", "status");
  dialog.setAttribute("aria-labelledby", heading.id);
  dialog.append(heading, make("div", {className: "buttons"}, ...buttons.map((each) => button(...each))), told, facts, charts,
    numbers, note);
  document.body.append(dialog);
  return show;
};
const twinsForm = (open) => {
  const bar = make("div", {className: "pickers"});
  const fill = (look, arm, seed) => {
    const arms = Object.keys(look.differences);
    const name = arms.includes(arm) ? arm : arms[0];
    bar.hidden = !arms.length;
    if (!arms.length) return;
    const {seeds} = look.differences[name];
    const labels = [
      chooser("Arm", arms.map((each) => [each, each]), name, (chosen) => {
        fill(currentLook(), chosen, seed);
        bar.querySelector("select").focus();
      }),
      chooser(look.paired ? "Seed" : "Run", seeds.map((each) => [each, each]), seeds.includes(seed) ? seed : seeds[0], () => {}),
    ];
    const button = make("button", {type: "button", textContent: look.paired ? "Open its twins" : "Open it"});
    button.addEventListener("click", () => open(name, Number(labels[1].querySelector("select").value)));
    bar.replaceChildren(...labels, button);
  };
  bar.setAttribute("role", "group");
  bar.setAttribute("aria-label", "One seed's runs side by side");
  fill(currentLook());
  document.addEventListener("look", ({detail}) => fill(detail));
  document.getElementById("pairs").after(bar);
};
const openTwins = looked && twinsDialog();
if (looked) twinsForm(openTwins);
