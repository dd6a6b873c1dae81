// The accuracy curve, drawn for the width there is.

import { h, section, svg } from "./dom.js";
import { isRegression, score, scoreText } from "./run.js";

const HEIGHT = 240;
const LEFT = 52;
const RIGHT = 16;
const TOP = 14;
const BOTTOM = 34;

export function curve(run) {
  const regression = isRegression(run);
  const points = run.rounds.map(({ entry }) => [entry.round, score(entry, run.opening)]).filter(([, value]) => value !== null);
  const title = regression ? "Error" : "Accuracy";
  if (!points.length) return section("curve", title, h("p", { class: "quiet" }, "The server stated no test results."));
  const frame = h("div", { class: "plot" });
  const [from, to] = [points[0], points.at(-1)].map(([round, value]) => `${scoreText(value, regression)} in round ${round}`);
  const name = `${regression ? "Mean squared error" : "Accuracy"} by round: from ${from} to ${to}`;
  const draw = () => frame.replaceChildren(plot(points, regression, Math.max(260, Math.min(frame.clientWidth || 720, 1000)), name));
  new ResizeObserver(draw).observe(frame);
  draw();
  const caption = "On the server's test data, as the server states it: nobody can recompute this without that data.";
  return section("curve", title, h("figure", {}, frame, h("figcaption", {}, caption)));
}

function plot(points, regression, width, name) {
  const values = points.map(([, value]) => value);
  const [first, last] = [points[0][0], points.at(-1)[0]];
  const [low, high, step] = scale(Math.min(...values), Math.max(...values), regression);
  const x = (round) => LEFT + (first === last ? 0.5 : (round - first) / (last - first)) * (width - LEFT - RIGHT);
  const y = (value) => TOP + (1 - (value - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const path = points.map(([round, value], i) => `${i ? "L" : "M"}${x(round).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const floor = HEIGHT - BOTTOM;
  const lines = [];
  for (let i = 0; low + i * step <= high + step / 1e6; i += 1) {
    const [at, label] = [low + i * step, regression ? (low + i * step).toPrecision(2) : `${Math.round(100 * (low + i * step))} %`];
    lines.push(svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(at), y2: y(at) }));
    lines.push(svg("text", { class: "tick", x: LEFT - 8, y: y(at) + 4, "text-anchor": "end" }, label));
  }
  const every = Math.max(1, Math.ceil((last - first + 1) / Math.max(2, Math.floor(width / 60))));
  for (let round = first; round <= last; round += every) {
    lines.push(svg("text", { class: "tick", x: x(round), y: HEIGHT - 10, "text-anchor": "middle" }, String(round)));
  }
  const area = `${path}L${x(last).toFixed(1)} ${floor}L${x(first).toFixed(1)} ${floor}Z`;
  const dots =
    points.length > 60
      ? []
      : points.map(([round, value]) =>
          svg(
            "circle",
            { class: "dot", cx: x(round), cy: y(value), r: 3.5 },
            svg("title", {}, `round ${round}: ${scoreText(value, regression)}`),
          ),
        );
  return svg(
    "svg",
    { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": name },
    lines,
    svg("path", { class: "area", d: area }),
    svg("path", { class: "line", d: path }),
    dots,
  );
}

// Bounds and distance of the grid lines: about four of them at round numbers.
function scale(low, high, regression) {
  if (!Number.isFinite(high - low)) return [0, 1, 0.25];
  const rough = Math.max(high - low, regression ? high / 10 || 1 : 0.1) / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const bottom = Math.max(0, Math.floor(low / step) * step);
  const top = Math.ceil(high / step - 1e-9) * step;
  return [bottom, regression ? Math.max(top, bottom + step) : Math.max(Math.min(1, top), bottom + step), step];
}
