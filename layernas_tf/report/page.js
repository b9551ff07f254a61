"use strict";
(() => {
  const coarse = window.matchMedia("(pointer: coarse)").matches;
  const narrow = window.innerWidth < 560;
  const charts = [];

  function fitPhone(layout) {
    Object.assign(layout.legend, { entrywidthmode: "fraction", entrywidth: 0.47 });
    layout.legend.font = { size: 11 };
    const { tickvals, ticktext } = layout.xaxis;
    if (tickvals && tickvals.length > 8) {
      const every = Math.ceil(tickvals.length / 6);
      const kept = (_, i) => i % every === 0;
      layout.xaxis.tickvals = tickvals.filter(kept);
      layout.xaxis.ticktext = ticktext.filter(kept);
    }
  }

  for (const source of document.querySelectorAll("script[data-chart]")) {
    const chart = document.getElementById(source.dataset.chart);
    const figure = JSON.parse(source.textContent);
    // A finger that drags means to scroll the page, not to zoom the figure.
    if (coarse) figure.layout.dragmode = false;
    if (narrow) fitPhone(figure.layout);
    Plotly.newPlot(chart, figure.data, figure.layout, {
      responsive: true,
      displayModeBar: false,
    });
    charts.push(chart);
  }
  // Figures have the screen's width in pixels; paper has its own.
  const paper = 680;
  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
    for (const chart of charts) {
      const columns = chart.closest(".charts") ? 2 : 1;
      Plotly.relayout(chart, { width: paper / columns - 10 * (columns - 1) });
    }
  });
  window.addEventListener("afterprint", () => {
    for (const chart of charts) Plotly.relayout(chart, { autosize: true, width: null });
  });
})();
