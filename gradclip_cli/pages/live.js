"use strict";
const thresholds = ({norms, steps, at}, item) => {
  const [low, high] = [norms.find((norm) => norm > 0) ?? 1e-9, norms[norms.length - 1]];
  const drawn = Bokeh.documents.find((each) => each.roots()[0].id === item.root_id);
  const label = document.createElement("label");
  const input = document.createElement("input");
  const output = document.createElement("output");
  Object.assign(input, {type: "range", min: 0, max: 1000, step: 1});
  const place = (threshold) => 1000 * Math.log(threshold / low) / Math.log(high / low);
  input.value = high > low ? place(at ?? norms[norms.length >> 1]) : 500;
  const tell = () => {
    const threshold = low * (high / low) ** (input.value / 1000);
    const share = norms.filter((norm) => norm > threshold).length / norms.length;
    output.textContent = `At ${threshold.toPrecision(3)}, clipping by the global norm would have acted on `
      + `${(100 * share).toFixed(1)}% of these ${steps.toLocaleString("en")} recorded steps.`;
    drawn.get_model_by_name("threshold").location = threshold;
  };
  input.addEventListener("input", tell);
  label.className = "thresholds";
  label.append("Threshold ", input, output);
  tell();
  return label;
};
(async () => {
  const live = JSON.parse(document.getElementById("live").textContent);
  for (const {place, title, item, slider} of live.figures) {
    const figure = document.getElementById(place);
    const box = document.createElement("div");
    box.id = item.target_id;
    box.className = "live";
    const heading = document.createElement("p");
    heading.className = "live-title";
    heading.textContent = title;
    figure.prepend(heading, box);
    try {
      await Bokeh.embed.embed_item(item);
      figure.classList.add("is-live");  // whose picture gives way
      if (slider && slider.norms.length) heading.after(thresholds(slider, item));
    } catch (error) {
      heading.remove();
      box.remove();  // the picture stays
      console.error(error);
    }
  }
  const show = (arm, visible) => {
    for (const shown of Bokeh.documents.flatMap((each) => each.roots())) {
      for (const drawn of shown.renderers) {
        if (drawn.name === arm) drawn.visible = visible;
      }
    }
    for (const button of document.querySelectorAll(".legend button")) {
      if (button.value === arm) button.setAttribute("aria-pressed", visible);
    }
  };
  for (const [part, arms] of [["differences", live.arms.slice(1)], ["curves", live.arms]]) {
    const heading = document.querySelector(`#${part} h2`);
    if (!heading) continue;
    const legend = document.createElement("div");
    legend.className = "legend";
    legend.setAttribute("role", "group");
    legend.setAttribute("aria-label", "Arms that are shown");
    for (const {name, colour} of arms) {
      const button = document.createElement("button");
      button.type = "button";
      button.value = name;
      button.setAttribute("aria-pressed", true);
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = colour;
      button.append(swatch, name);
      button.addEventListener("click", () => show(name, button.getAttribute("aria-pressed") !== "true"));
      legend.append(button);
    }
    heading.after(legend);
  }
  document.documentElement.dataset.live = "ready";
})();
