// Runs step by step: one of them at each place, by one of its norms, with a threshold and a cursor that can be moved.
const unpacked = ({low, high, log, codes}) => {
  const bytes = atob(codes);
  return Array.from({length: bytes.length / 2}, (_, place) => {
    const code = bytes.charCodeAt(2 * place) + 256 * bytes.charCodeAt(2 * place + 1);
    const value = low + (high - low) * (code - 1) / 65534;
    return code ? (log ? 10 ** value : value) : NaN;
  });
};
const edges = (held) => [0, held.length - 1].map((place) => held.length ? unpacked(held[place]) : []);
const rounded = (value) => Number.isFinite(value) ? Number(value.toPrecision(3)).toString() : "not finite";
const between = (low, high) => low === high ? rounded(high) : `${rounded(low)} to ${rounded(high)}`;
const slider = (name, most, listener) => {
  const input = make("input", {type: "range", min: 0, max: most, step: 1});
  const output = make("output");
  const label = make("label", {className: "slider"}, `${name} `, input, output);
  input.addEventListener("input", listener);
  return {input, output, label};
};
const stepsViewer = async (held, number) => {
  const heading = make("p", {className: "live-title"});
  const box = boxFor(`live-steps-${number}`, "");
  const bar = make("div", {className: "pickers"});
  const place = document.getElementById(`steps-${number}`);
  const state = {run: held.runs[number], measure: held.runs[number].measures[0], data: {}, spread: [], ends: [1, 1]};
  const threshold = slider("Threshold", 1000, () => tellThreshold());
  const cursor = slider("Step", 1, () => tellStep(true));
  place.append(heading, bar, threshold.label, box, cursor.label);
  const drawn = await embedded(held.item, box);
  const [norms, losses] = partsOf(drawn);
  const source = drawn.get_model_by_name("steps");

  const tellThreshold = () => {
    const {run, measure, spread, ends: [low, high]} = state;
    const at = low * (high / low) ** (threshold.input.value / 1000);
    const beyond = spread.filter((value) => value > at).length / (spread.length || 1) * measure.finite + measure.infinite;
    threshold.output.textContent = `At ${at.toPrecision(3)}, ${measure.clipping} would have acted on `
      + `${(100 * beyond / run.steps).toFixed(1)}% of these ${run.steps.toLocaleString("en")} recorded steps.`;
    drawn.get_model_by_name("threshold").location = at;
  };
  const tellStep = (isMoved = false) => {
    const [at, {data, run}] = [cursor.input.value, state];
    const after = run.clips ? `, after clipping ${between(data.after_low[at], data.after_high[at])}` : "";
    cursor.output.textContent = `At step ${Math.round(data.x[at]).toLocaleString("en")}: loss `
      + `${between(data.loss_low[at], data.loss_high[at])}; ${state.measure.unit} ${between(data.low[at], data.high[at])}${after}; `
      + `${Math.round(data.percent[at])}% of the steps there clipped.`;
    for (const part of [norms, losses]) {
      for (const span of part.center.filter(({name}) => name === "cursor")) {
        [span.location, span.visible] = [data.x[at], span.visible || isMoved];
      }
    }
  };
  const showMeasure = (measure) => {
    state.measure = measure;
    const {run} = state;
    const [low, high] = edges(measure.before);
    const [afterLow, afterHigh] = run.clips ? edges(measure.after) : [low.map(() => NaN), low.map(() => NaN)];
    const [lossLow, lossHigh] = edges(run.loss);
    const [x, share] = [unpacked(run.x), unpacked(run.share)];
    const half = x.length > 1 ? (x[1] - x[0]) / 2 : 0.5;
    state.data = {
      x, low, high, after_low: afterLow, after_high: afterHigh, loss_low: lossLow, loss_high: lossHigh, share,
      left: x.map((at) => at - half), right: x.map((at) => at + half), percent: share.map((part) => 100 * part),
    };
    source.data = state.data;
    norms.left[0].axis_label = measure.unit;
    state.spread = unpacked(measure.spread);
    const positive = state.spread.filter((value) => value > 0);
    state.ends = positive.length ? [positive[0], positive.at(-1)] : [1, 1];
    const [least, largest] = state.ends;
    const first = measure.threshold ?? positive[positive.length >> 1] ?? 1;
    threshold.input.value = largest > least ? 1000 * Math.log(first / least) / Math.log(largest / least) : 500;
    tellThreshold();
    tellStep();
  };
  const showRun = (run) => {
    state.run = run;
    heading.textContent = run.title;
    box.setAttribute("aria-label", run.title);
    [norms.x_range.start, norms.x_range.end] = [0, unpacked(run.x).at(-1) * 1.06];
    for (const renderer of norms.renderers.filter(({name}) => name === "after")) {
      renderer.visible = run.clips;
      if (renderer.glyph.line_color) renderer.glyph.line_color = {value: run.colour};
      if (renderer.glyph.fill_color) renderer.glyph.fill_color = {value: run.colour};
    }
    for (const each of [...norms.above, ...norms.center].filter((part) => part.items)) each.visible = run.clips;
    cursor.input.max = unpacked(run.x).length - 1;
    const runs = held.runs.map(({name}, at) => [at, name]);
    const kept = Math.max(0, run.measures.findIndex(({name}) => name === state.measure.name));
    const labels = [
      ...runs.length > 1 ? [chooser("Run", runs, held.runs.indexOf(run), (at) => {
        showRun(held.runs[at]);
        bar.querySelector("select").focus();
      })] : [],
      ...run.measures.length > 1 ? [chooser("Of", run.measures.map(({name}, at) => [at, name]), kept,
        (at) => showMeasure(run.measures[at]))] : [],
    ];
    bar.replaceChildren(...labels);
    showMeasure(run.measures[kept]);
  };
  cursor.input.value = 0;
  showRun(state.run);
};
