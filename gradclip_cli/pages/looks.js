// Another baseline or metric: what was judged of it when the page was written takes the place of the page's own question.
const looked = read("looks");
const currentLook = () => looked.looks[document.documentElement.dataset.look ?? 0];
const shown = (value, digits, sign = false) => {
  const places = Math.min(8, value && Math.abs(value) < 0.5 * 10 ** -digits ? 1 - Math.floor(Math.log10(Math.abs(value))) : digits);
  const text = Math.abs(value) < 1e21 ? value.toFixed(places) : value.toPrecision(3);
  return `${sign && value > 0 ? "+" : ""}${Number(text) ? text : text.replace("-", "")}`.replaceAll("-", "\u2212");
};
const inUnit = (value, metric) => `${shown(value, metric.digits, true)} ${metric.unit}`.trim();
const lookChooser = () => {
  const [own] = looked.looks;
  const section = document.getElementById("verdicts");
  const table = section.querySelector("table");
  const caption = section.querySelector(".note");
  const sentences = section.querySelector("ul");
  const written = [caption, sentences].map((part) => part && [...part.childNodes]);
  const pattern = table.tBodies[0].rows[0].cloneNode(true);
  const scores = document.querySelector("#differences details table");
  const status = make("p", {className: "further"});
  status.setAttribute("role", "status");
  const find = (baseline, metric) => looked.looks.findIndex((each) => each.baseline === baseline && each.metric === metric);

  const question = ({metric, baseline}) => `${looked.metrics[metric].title} against ${baseline}`;

  const header = document.querySelector("header");
  const ownAnswer = [...header.querySelectorAll(":scope > p")];  // of a try it says more than the look's
  const tellAnswer = (look) => {
    const [heading, list] = [header.querySelector("h1"), header.querySelector(".badges")];
    for (const part of [...header.querySelectorAll(":scope > p")]) part.remove();
    heading.textContent = look.title;
    const further = () => look.answer.map((text, place) => make("p", {textContent: text, className: place ? "" : "answer"}));
    heading.after(...(look === own ? ownAnswer : further()));
    list.replaceChildren(...look.badges.map(({name, kind, sign, word, figure}) => {
      const mark = make("span", {className: "sign", textContent: sign, ariaHidden: "true"});
      return make(
        "li", {className: `badge ${kind}`}, make("span", {className: "name", textContent: name}),
        make("strong", {}, ...sign ? [mark] : [], word), make("span", {className: "figure", textContent: figure}));
    }));
  };
  const tellVerdicts = (look) => {
    forgetOrder(table);
    [...table.tHead.rows[0].cells].forEach((head, place) => {
      if (head.textContent !== look.columns[place]) head.querySelector("button").textContent = look.columns[place];
    });
    table.tBodies[0].replaceChildren(...look.rows.map((texts) => {
      const row = pattern.cloneNode(true);
      texts.forEach((text, place) => row.cells[place].textContent = text);
      return row;
    }));
    const told = look === own ? written : [[look.caption], look.sentences.map((text) => make("li", {textContent: text}))];
    caption.replaceChildren(...told[0]);
    sentences?.replaceChildren(...told[1] ?? []);
  };
  const tellScores = (look) => {
    const metric = looked.metrics[look.metric];
    const arms = Object.keys(metric.scores);
    scores.caption.textContent = `${metric.heading} of each run, as scored`;
    for (const row of scores.tBodies[0].rows) {
      const names = [...scores.tHead.rows[0].cells].map((head) => head.textContent);
      for (const arm of arms) {
        const place = looked.runs.of[arm].findIndex((run) => String(run.seed) === row.cells[0].textContent);
        row.cells[names.indexOf(arm)].textContent = metric.scores[arm][place] ?? "";
      }
    }
    forgetOrder(scores);
    const figure = document.getElementById("pairs");
    for (const part of figure.querySelectorAll("img, figcaption")) part.hidden = look !== own;
  };
  const show = (number) => {
    const look = looked.looks[number];
    document.documentElement.dataset.look = number;
    tellAnswer(look);
    tellVerdicts(look);
    tellScores(look);
    chosen.baseline.value = look.baseline;
    for (const option of chosen.metric.options) option.disabled = find(look.baseline, option.value) < 0;
    chosen.metric.value = look.metric;
    back.hidden = look === own;
    status.classList.toggle("is-further", look !== own);
    status.textContent = look === own
      ? "This is the question that the page was made for."
      : `A further look: ${question(look)}. It is exploratory, and its p is not adjusted for choosing it. Answer, verdicts, `
        + `differences and scores follow the choice; all else here is of what the page was made for: ${question(own)}.`;
    document.dispatchEvent(new CustomEvent("look", {detail: look}));
  };
  const choose = (baseline, metric) => show(Math.max(find(baseline, metric), find(baseline, own.metric), 0));
  const named = (key) => [...new Set(looked.looks.map((look) => look[key]))];
  const labels = {
    baseline: chooser("Baseline", named("baseline").map((name) => [name, name]), own.baseline,
      (name) => choose(name, currentLook().metric)),
    metric: chooser("Metric", named("metric").map((name) => [name, looked.metrics[name].title]), own.metric,
      (name) => choose(currentLook().baseline, name)),
  };
  const chosen = {baseline: labels.baseline.querySelector("select"), metric: labels.metric.querySelector("select")};
  const back = make("button", {type: "button", textContent: "Back to the page's own question", hidden: true});
  back.addEventListener("click", () => {
    show(0);
    chosen.baseline.focus();
  });
  const left = looked.left ? [make("p", {className: "note", textContent: looked.left})] : [];
  const group = make("div", {className: "pickers"}, labels.baseline, labels.metric, back, status, ...left);
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "Further looks");
  document.querySelector(".badges").after(group);
  status.textContent = "This is the question that the page was made for.";
};
if (looked && looked.looks.length > 1) lookChooser();
