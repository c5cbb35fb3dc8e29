// The map of memory: a thin row for each experience, time to the right, colour for its bits above the baseline.

import { clock, count, decimal, made, say } from "./words.js";

const KINDS = [
  ["exposed", "exposed: may be trained on"],
  ["withheld", "withheld from training"],
  ["placebo", "placebo: never entered"],
];
const BASELINES = {
  world: "frames of the same world that nobody trained on",
  placebo: "the placebos have on average",
};
const STRIP = 7;
const GAP = 4;
const AXIS = 22;

export class HeatMap {
  constructor() {
    this.found = null;
    this.empty = made("p", "empty", "The map begins with the first evaluation.");
    this.told = made("p", "told");
    this.lead = made("p", "note");
    this.worlds = made("ul", "legend worlds");
    this.least = made("span");
    this.most = made("span");
    this.scale = made("div", "scale", this.least, made("span", "bar"), this.most);
    this.blocks = KINDS.map(([kind, title]) => {
      const canvas = made("canvas");
      canvas.setAttribute("role", "img");
      const block = { kind, title, heading: made("h3"), canvas, rows: [] };
      block.element = made("div", "block", block.heading, canvas);
      canvas.addEventListener("pointermove", (event) => this.#point(block, event));
      canvas.addEventListener("pointerdown", (event) => this.#point(block, event));
      canvas.addEventListener("pointerleave", () => say(this.told, this.hint));
      return block;
    });
    this.body = made("div", "", ...this.blocks.map((block) => block.element), this.scale, this.worlds, this.told);
    this.element = made("div", "", made("h3", "title", "Every experience over time"), this.lead, this.empty, this.body);
    this.body.hidden = true;
    this.hint = "Touch or point at a row to read it.";
    say(this.told, this.hint);
    new ResizeObserver(() => this.#draw()).observe(this.element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
  }

  show(found) {
    this.found = found;
    this.#draw();
  }

  #draw() {
    const { found } = this;
    const some = found?.cells.some((row) => row.some((bits) => bits !== null));
    this.empty.hidden = Boolean(some);
    this.body.hidden = !some;
    if (!some) return;
    const style = getComputedStyle(this.element);
    this.colour = blend(["--less-2", "--less-1", "--equal", "--more-1", "--more-2"].map((name) => style.getPropertyValue(name)));
    this.ink = style.getPropertyValue("--ink");
    this.blank = style.getPropertyValue("--blank");
    this.grey = style.getPropertyValue("--grey");
    this.tints = found.worlds.map((_, number) => style.getPropertyValue(`--world-${number % 8}`));
    const starts = found.rows.map((row) => row.start).filter((start) => start !== null);
    this.origin = Math.min(found.times[0], ...starts);
    const gaps = found.times.slice(1).map((time, number) => time - found.times[number]);
    this.end = found.times.at(-1) + (gaps.length ? gaps.reduce((a, b) => a + b) / gaps.length : 10);
    const limit = `${decimal(found.limit, 2)} bits`;
    say(this.least, `−${limit}`);
    say(this.most, `+${limit}`);
    say(
      this.lead,
      `The dash is when it was lived; from then on blue is more, red fewer bits than ${BASELINES[found.baseline]}. ` +
        "Memory: exposed rows turn bluer than withheld ones of the same world. Forgetting: blue fades.",
    );
    const known = found.worlds.map((world, number) => {
      const swatch = made("span", "square");
      swatch.style.background = this.tints[number];
      return made("li", "", swatch, made("span", "", world));
    });
    this.worlds.replaceChildren(...known);
    const shown = this.blocks.filter((block) => {
      block.rows = [...found.rows.keys()].filter((row) => found.rows[row].kind === block.kind);
      block.element.hidden = !block.rows.length;
      return block.rows.length;
    });
    shown.forEach((block) => this.#block(block, block === shown.at(-1)));
  }

  #block(block, last) {
    const { found } = this;
    const width = Math.floor(block.canvas.clientWidth || this.element.clientWidth);
    block.height = Math.max(3, Math.min(9, Math.floor(240 / block.rows.length)));
    const rows = block.height * block.rows.length;
    const height = rows + (last ? AXIS : 2);
    const dense = Math.max(1, Math.round(devicePixelRatio));
    block.canvas.width = width * dense;
    block.canvas.height = height * dense;
    block.canvas.style.height = `${height}px`;
    const pen = block.canvas.getContext("2d");
    pen.scale(dense, dense);
    const left = STRIP + GAP;
    block.x = (time) => left + ((time - this.origin) / (this.end - this.origin)) * (width - left);
    pen.fillStyle = this.blank;
    pen.fillRect(left, 0, width - left, rows);
    block.rows.forEach((row, place) => {
      const y = place * block.height;
      const { world, start, end } = found.rows[row];
      pen.fillStyle = this.tints[world];
      pen.fillRect(0, y, STRIP, block.height);
      found.cells[row].forEach((bits, column) => {
        if (bits === null) return;
        const x = Math.round(block.x(found.times[column]));
        const until = Math.round(block.x(found.times[column + 1] ?? this.end));
        pen.fillStyle = this.colour(bits / found.limit);
        pen.fillRect(x, y, Math.max(1, until - x), block.height - (block.height > 5 ? 1 : 0));
      });
      if (start === null) return;
      pen.fillStyle = this.ink;
      pen.fillRect(block.x(start), y + block.height / 2 - 1, Math.max(2, block.x(end) - block.x(start)), 1.6);
    });
    if (last) this.#axis(pen, block, width, rows);
    const newest = block.rows.map((row) => found.cells[row].at(-1)).filter((bits) => bits !== null);
    const mean = newest.reduce((sum, bits) => sum + bits, 0) / newest.length;
    const now = newest.length ? `, now ${mean > 0 ? "+" : ""}${decimal(mean, 2)} bits on average` : "";
    say(block.heading, `${block.title} (${count(block.rows.length)})${now}`);
    block.canvas.setAttribute("aria-label", `${block.heading.textContent}, at ${count(found.times.length)} evaluations`);
  }

  #axis(pen, block, width, top) {
    pen.fillStyle = this.grey;
    pen.font = `12px ${getComputedStyle(this.element).fontFamily}`;
    const span = this.end - this.origin;
    const steps = [15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400];
    const step = steps.find((seconds) => span / seconds <= Math.max(2, width / 90)) ?? 604800;
    for (let time = 0; time <= span; time += step) {
      const words = clock(time);
      const x = block.x(this.origin + time);
      const half = pen.measureText(words).width / 2;
      pen.fillRect(x, top + 2, 1, 4);
      if (x + half < width) pen.fillText(words, Math.max(0, x - half), top + 18);
    }
  }

  #point(block, event) {
    const box = block.canvas.getBoundingClientRect();
    const row = block.rows[Math.floor((event.clientY - box.top) / block.height)];
    if (row === undefined) return;
    const { found, origin } = this;
    const time = found.times.findLastIndex((at) => block.x(at) <= event.clientX - box.left);
    const { world, start, end, kind } = found.rows[row];
    const lived = start === null ? "never lived" : `lived ${clock(start - origin)} to ${clock(end - origin)}`;
    const bits = time < 0 ? null : found.cells[row][time];
    const reading = bits === null ? "not measured" : `${bits > 0 ? "+" : ""}${decimal(bits, 2)} bits`;
    const when = time < 0 ? "" : ` at ${clock(found.times[time] - origin)} (v${count(found.versions[time])})`;
    say(this.told, `${kind}, ${found.worlds[world]}, ${lived}: ${reading}${when}`);
  }
}

/** A colour between stops, for −1 to 1; stops are #rrggbb. */
function blend(stops) {
  const parts = stops.map((stop) => [1, 3, 5].map((at) => parseInt(stop.trim().slice(at, at + 2), 16)));
  return (share) => {
    const place = ((Math.max(-1, Math.min(1, share)) + 1) / 2) * (parts.length - 1);
    const low = Math.min(parts.length - 2, Math.floor(place));
    const mixed = parts[low].map((value, at) => Math.round(value + (parts[low + 1][at] - value) * (place - low)));
    return `rgb(${mixed.join(" ")})`;
  };
}
