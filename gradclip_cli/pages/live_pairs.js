// The figure of differences, which follows the look and opens twins, and the curves of twins.
const fillPairs = (drawn, look) => {
  const metric = looked.metrics[look.metric];
  const seeds = Object.values(look.differences).flatMap((each) => each.seeds);
  const [low, high] = [Math.min(...seeds, Infinity) - 0.5, Math.max(...seeds, -Infinity) + 0.5];
  const ends = seeds.length ? [low, high] : [0, 1];
  const [figure] = drawn.roots();
  drawn.get_model_by_name("zero").data = {x: ends, y: [0, 0]};
  live.arms.forEach(({name}, place) => {
    const {seeds: at = [], values = [], typical, interval} = look.differences[name] ?? {};
    const told = values.map((value) => inUnit(value, metric));
    const line = at.length ? ends : [];
    const edge = (side) => line.map(() => interval?.[side] ?? NaN);
    drawn.get_model_by_name(`dots-${place}`).data = {x: at, y: values, seed: at.map(String), told};
    drawn.get_model_by_name(`typical-${place}`).data = {x: line, y: line.map(() => typical), low: edge(0), high: edge(1)};
  });
  [figure.x_range.start, figure.x_range.end] = ends;
  figure.below[0].axis_label = look.paired ? "seed" : "run";
  figure.left[0].axis_label = `difference${metric.unit ? ` (${metric.unit})` : ""}`;
  document.querySelector("#pairs .live-title").textContent = `${look.axis}. A click on a dot opens its seed.`;
  for (const button of document.querySelectorAll("#differences .legend [aria-pressed]")) {
    button.hidden = !(button.value in look.differences);
  }
};
const opensTwins = (drawn) => {
  live.arms.forEach(({name}, place) => {
    const source = drawn.get_model_by_name(`dots-${place}`);
    source.selected.change.connect(() => {
      const [chosen] = source.selected.indices;
      if (chosen === undefined) return;
      source.selected.indices = [];
      openTwins(name, source.data.x[chosen]);
    });
  });
};
const fillTwins = (drawn, column, twins) => {
  const colours = Object.fromEntries(live.arms.map(({name, colour}) => [name, colour]));
  const curves = twins.map(({name, run}) => ({name, y: (run.curves[column] ?? []).map((value) => value ?? NaN)}));
  const x = ({y}) => looked.runs.epochs.slice(0, y.length);
  drawn.get_model_by_name("lines").data = {
    xs: curves.map(x), ys: curves.map(({y}) => y), colour: curves.map(({name}) => colours[name]),
    dash: curves.map((_, place) => place ? "dashed" : "solid"),
  };
  drawn.get_model_by_name("points").data = {
    x: curves.flatMap(x), y: curves.flatMap(({y}) => y), colour: curves.flatMap(({name, y}) => y.map(() => colours[name])),
    arm: curves.flatMap(({name, y}) => y.map(() => name)),
  };
  const [figure] = drawn.roots();
  [figure.x_range.start, figure.x_range.end] = [0, looked.runs.epochs.at(-1) * 1.06];
  figure.left[0].axis_label = looked.runs.columns[column];
};
const drawTwins = () => {
  let drawing = Promise.resolve([]);
  return ({detail: {twins, charts, columns}}) => {
    drawing = drawing.then(async (drawn) => {
      const boxes = ["twins-0", "twins-1"].map((id) => document.getElementById(id) ?? boxFor(id, ""));
      charts.replaceChildren(...columns.map((column, place) => {
        const names = twins.map(({name}, twin) => `${name} (${twin ? "dashed" : "solid"})`).join(", ");
        boxes[place].setAttribute("aria-label", looked.runs.columns[column]);
        return make("div", {}, make("p", {
          className: "live-title", textContent: `${looked.runs.columns[column]}: ${names}`}), boxes[place]);
      }));
      for (let place = drawn.length; place < columns.length; place += 1) {
        drawn.push(await embedded(live.twins, boxes[place]));
      }
      columns.forEach((column, place) => fillTwins(drawn[place], column, twins));
      return drawn;
    });
  };
};
