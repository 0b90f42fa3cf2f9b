// Charts by Plotly, which is only loaded once something is drawn. Each has its numbers as a table beside it.

import { $$, h, fill, table } from "./dom.js";

let loading = null;
const drawn = new Map();

function plotly() {
  loading ??= new Promise((resolve, reject) => {
    const script = h("script", { src: "/web/plotly.min.js" });
    script.addEventListener("load", () => resolve(window.Plotly));
    script.addEventListener("error", () => reject(new Error("Plotly could not be loaded")));
    document.head.append(script);
  });
  return loading;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const SERIES = 7;
export const seriesColour = (at) => `--series-${Math.min(at, SERIES - 1) + 1}`;

/** Plotly reads a few tags in its texts: a name is shown as it is written. (Of them only <br> is used here: the others
 *  are written as style attributes, which the policy refuses.) */
export const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function layout(extra) {
  const axis = { gridcolor: colour("--line"), zerolinecolor: colour("--line"), linecolor: colour("--line"), fixedrange: true, automargin: true, tickfont: { color: colour("--muted"), size: 12 } };
  const { xaxis = {}, yaxis = {}, ...others } = extra;
  return {
    font: { family: getComputedStyle(document.body).fontFamily, color: colour("--text"), size: 13 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, dragmode: false,
    margin: { l: 8, r: 8, t: 8, b: 8 }, bargap: 0.28,
    hoverlabel: { bgcolor: colour("--surface"), bordercolor: colour("--line"), font: { color: colour("--text"), size: 13 }, align: "left" },
    xaxis: { ...axis, showgrid: false, ...xaxis }, yaxis: { ...axis, ...yaxis }, ...others,
  };
}

/**
 * chart(target, {label, low?, traces: () => […], layout: () => ({…}), legend: [[name, colour variable]], columns, rows})
 * Traces and layout are functions, because the colours change with the scheme.
 */
export async function chart(target, spec) {
  let place = target.querySelector(".chart");
  if (!place) {
    place = h("div", { class: spec.low ? "chart low" : "chart", role: "img" });
    fill(target, place, h("ul", { class: "legend", "aria-hidden": "true" }), h("details", {}, h("summary", {}, "Show as a table"), h("div", {})));
  }
  place.setAttribute("aria-label", spec.label);
  if (spec.height) place.style.height = `${spec.height}px`;
  fill(target.querySelector(".legend"), spec.legend.map(([name, variable]) => h("li", {}, h("i", { css: { background: `var(${variable})` } }), name)));
  fill(target.querySelector("details > div"), table(spec.label, spec.columns, spec.rows));
  drawn.set(place, spec);
  await draw(place);
}

async function draw(place) {
  const library = await plotly();
  const spec = drawn.get(place);
  if (!spec || !place.isConnected) return;
  await library.react(place, spec.traces(), layout(spec.layout()), { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false });
  place.dataset.drawn = "yes";
}

export function redraw() {
  for (const place of drawn.keys()) {
    if (place.isConnected) draw(place);
    else drawn.delete(place);
  }
}

window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
export const readColour = colour;
export const allCharts = () => $$(".chart");
