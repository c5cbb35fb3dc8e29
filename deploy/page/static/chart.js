// A line chart: what it shows is in its legend, at the newest moment or where the pointer is.

import { clock, decimal, drawn, made, NONE, say } from "./words.js";

const HEIGHT = 168;
const EDGE = { left: 46, right: 12, top: 10, bottom: 24 };

/** Numbers between two ends that a reader can hold: about `wanted` of them. */
function ticks(low, high, wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-9; at += step) found.push(at);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

function timeStep(span) {
  const steps = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400, 172800, 604800];
  return steps.find((step) => span / step <= 4) ?? 604800 * Math.ceil(span / 604800 / 4);
}

export class Chart {
  /** @param lines what is drawn: {name, label, tint, dash}; `zero` keeps 0 in the picture. */
  constructor({ title, unit, lines, digits = 3, zero = false }) {
    Object.assign(this, { title, unit, lines, digits, zero });
    this.points = [];
    this.columns = [];
    this.at = null;
    this.empty = made("p", "empty", "Not measured yet.");
    this.svg = drawn("svg", { class: "plot", role: "img", tabindex: "0", height: HEIGHT });
    this.when = made("span", "when");
    this.values = lines.map(() => made("b", "value", NONE));
    this.legend = made("ul", "legend");
    lines.forEach((line, number) => {
      const swatch = drawn("svg", { class: "swatch", viewBox: "0 0 22 8", "aria-hidden": "true" });
      swatch.append(drawn("path", { d: "M1 4H21", class: `line ${line.tint} ${line.dash ?? ""}` }));
      const words = lines.length > 1 ? [swatch, made("span", "", line.label)] : [];
      this.legend.append(made("li", "", ...words, this.values[number]));
    });
    const head = made("div", "head", made("h3", "", title, " ", made("span", "unit", unit)), this.when);
    this.element = made("figure", "chart card", head, this.legend, this.svg, this.empty);
    this.svg.addEventListener("pointermove", (event) => this.#point(event));
    this.svg.addEventListener("pointerdown", (event) => this.#point(event));
    this.svg.addEventListener("pointerleave", () => this.#hold(null));
    this.svg.addEventListener("blur", () => this.#hold(null));
    this.svg.addEventListener("keydown", (event) => this.#step(event));
    new ResizeObserver(() => this.#draw()).observe(this.element);
  }

  /** Takes all points, the newest last; `names` says what stands in which column after the time. */
  show(names, points) {
    this.columns = this.lines.map((line) => 1 + names.indexOf(line.name));
    this.points = points.filter((point) => this.columns.some((column) => point[column] !== null));
    this.#draw();
  }

  get measured() {
    return this.points.length > 0;
  }

  #range() {
    const all = this.points.flatMap((point) => this.columns.map((column) => point[column]).filter((x) => x !== null));
    let [low, high] = [Math.min(...all), Math.max(...all)];
    if (this.zero) low = Math.min(0, low);
    if (high - low < 1e-9) [low, high] = [low - Math.abs(low) * 0.1 - (this.zero ? 0 : 0.01), high + Math.abs(high) * 0.1 + 0.01];
    const margin = (high - low) * 0.06;
    return [this.zero && low === 0 ? 0 : low - margin, high + margin, Math.min(...all), Math.max(...all)];
  }

  #draw() {
    this.empty.hidden = this.measured;
    this.svg.toggleAttribute("hidden", !this.measured);
    this.svg.classList.toggle("gone", !this.measured);
    this.#tell();
    const width = this.svg.clientWidth;
    if (!this.measured || !width) return;
    const [low, high, least, most] = this.#range();
    const from = Math.min(...this.points.map((point) => point[0]));
    const to = Math.max(from + 1, this.points.at(-1)[0]);
    this.x = (time) => EDGE.left + ((time - from) / (to - from)) * (width - EDGE.left - EDGE.right);
    const y = (number) => HEIGHT - EDGE.bottom - ((number - low) / (high - low)) * (HEIGHT - EDGE.top - EDGE.bottom);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const parts = [];
    const { found, digits } = ticks(low, high, 4);
    for (const number of found) {
      parts.push(drawn("path", { class: "grid", d: `M${EDGE.left} ${y(number)}H${width - EDGE.right}` }));
      parts.push(this.#text(EDGE.left - 7, y(number) + 4, "end", decimal(number, digits)));
    }
    const step = timeStep(to - from);
    for (let time = Math.ceil(from / step) * step; time <= to; time += step) {
      if (this.x(time) > width - EDGE.right - 76) continue;
      parts.push(drawn("path", { class: "mark", d: `M${this.x(time)} ${HEIGHT - EDGE.bottom}v4` }));
      parts.push(this.#text(this.x(time), HEIGHT - 6, "middle", clock(time)));
    }
    parts.push(drawn("path", { class: "mark", d: `M${EDGE.left} ${HEIGHT - EDGE.bottom}H${width - EDGE.right}v4` }));
    parts.push(this.#text(width - EDGE.right + 8, HEIGHT - 6, "end", `now ${clock(to)}`));
    [...this.lines.keys()].reverse().forEach((number) => {
      const column = this.columns[number];
      let pen = "M";
      const path = this.points.map((point) => {
        if (point[column] === null) return ((pen = "M"), "");
        const command = `${pen}${this.x(point[0]).toFixed(1)} ${y(point[column]).toFixed(1)}`;
        pen = "L";
        return command;
      });
      const { tint, dash = "" } = this.lines[number];
      parts.push(drawn("path", { class: `line ${tint} ${dash}`, d: path.join("") }));
      const last = this.points.findLast((point) => point[column] !== null);
      if (last) parts.push(drawn("circle", { class: `end ${tint}`, cx: this.x(last[0]), cy: y(last[column]), r: 3 }));
    });
    this.cursor = drawn("path", { class: "cursor", d: "" });
    this.svg.replaceChildren(...parts, this.cursor);
    const now = this.lines.map((line, number) => `${line.label} ${this.#value(number, this.points.length - 1)}`);
    const ends = `lowest ${decimal(least, this.digits)}, highest ${decimal(most, this.digits)}`;
    this.svg.setAttribute("aria-label", `${this.title} (${this.unit}), now: ${now.join(", ")}; ${ends}`);
    this.#tell();
  }

  #text(x, y, anchor, words) {
    const text = drawn("text", { x, y, "text-anchor": anchor });
    text.textContent = words;
    return text;
  }

  #value(number, index) {
    const column = this.columns[number];
    for (let at = index; at >= 0; at -= 1) {
      if (this.points[at][column] !== null) return decimal(this.points[at][column], this.digits);
    }
    return NONE;
  }

  #point(event) {
    if (!this.measured || !this.x) return;
    const place = event.clientX - this.svg.getBoundingClientRect().left;
    const distance = (index) => Math.abs(this.x(this.points[index][0]) - place);
    this.#hold([...this.points.keys()].reduce((best, index) => (distance(index) < distance(best) ? index : best), 0));
  }

  #step(event) {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!way || !this.measured) return;
    event.preventDefault();
    const from = this.at === null ? this.points.length - 1 : this.points.findIndex((point) => point[0] >= this.at);
    this.#hold(Math.min(this.points.length - 1, Math.max(0, from + way)));
  }

  /** Holds the legend at a point until the pointer leaves. */
  #hold(index) {
    this.at = index === null ? null : this.points[index][0];
    this.#tell();
  }

  #tell() {
    if (!this.measured) {
      this.values.forEach((value) => say(value, NONE));
      return;
    }
    const found = this.at === null ? -1 : this.points.findIndex((point) => point[0] >= this.at);
    const index = found < 0 ? this.points.length - 1 : found;
    say(this.when, this.at === null ? "" : `at ${clock(this.points[index][0])}`);
    this.values.forEach((value, number) => say(value, this.#value(number, index)));
    if (!this.cursor || !this.x) return;
    const x = this.x(this.points[index][0]);
    this.cursor.setAttribute("d", this.at === null ? "" : `M${x} ${EDGE.top}V${HEIGHT - EDGE.bottom}`);
  }
}
