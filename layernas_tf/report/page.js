"use strict";
(() => {
  const coarse = window.matchMedia("(pointer: coarse)").matches;
  const charts = [];
  for (const source of document.querySelectorAll("script[data-chart]")) {
    const chart = document.getElementById(source.dataset.chart);
    const figure = JSON.parse(source.textContent);
    // A finger that drags means to scroll the page, not to zoom the figure.
    if (coarse) figure.layout.dragmode = false;
    Plotly.newPlot(chart, figure.data, figure.layout, {
      responsive: true,
      displaylogo: false,
      displayModeBar: coarse ? false : "hover",
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    });
    charts.push(chart);
  }
  // Figures have the screen's width in pixels; paper has its own.
  const paper = 660;
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
