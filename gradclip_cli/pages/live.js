"use strict";
(async () => {
  const live = JSON.parse(document.getElementById("live").textContent);
  Bokeh.set_log_level("warn");
  for (const {place, item} of live.figures) {
    const figure = document.getElementById(place);
    const box = document.createElement("div");
    box.id = item.target_id;
    box.className = "live";
    figure.prepend(box);
    try {
      await Bokeh.embed.embed_item(item);
      figure.classList.add("is-live");  // whose picture gives way
    } catch (error) {
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
  for (const heading of document.querySelectorAll("#differences h2, #curves h2")) {
    const legend = document.createElement("div");
    legend.className = "legend";
    legend.setAttribute("role", "group");
    legend.setAttribute("aria-label", "Arms that are shown");
    for (const {name, colour} of live.arms) {
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
