// The live page of a run: asks the run every second how it is, and presses pamiq-core's buttons.

import { Chart } from "./chart.js";
import { HeatMap } from "./heat.js";
import { clock, count, decimal, made, NONE, plural, say, size } from "./words.js";

const EVERY = 1000;
const PATIENCE = 5000;
const ENCODERS = [
  { name: "trained", label: "trained", tint: "blue" },
  { name: "random", label: "random-init", tint: "orange", dash: "dashed" },
  { name: "pixels", label: "pixels", tint: "grey", dash: "dotted" },
];
const KINDS = [
  { name: "bits_exposed", label: "exposed", tint: "blue" },
  { name: "bits_withheld", label: "withheld", tint: "orange", dash: "dashed" },
  { name: "bits_placebo", label: "placebo", tint: "grey", dash: "dotted" },
];
const UNITS = { world: "accuracy", place: "accuracy", heading: "R²", depth: "R²" };
const WAITING = { "": "training", fill: "waits for data", ratio: "waits for ratio", new: "waits for new", paused: "paused" };
const STATES = {
  active: "running",
  pausing: "pausing: not every part stands still yet",
  paused: "paused",
  resuming: "resuming: not every part goes on yet",
  "shutting down": "stopping",
};

const one = (name, title, unit, digits, more = {}) =>
  new Chart({ title, unit, digits, lines: [{ name, label: title, tint: "blue" }], ...more });
const learning = [
  one("loss", "Loss", "smooth L1", 4),
  one("images_per_second", "Training speed", "images/s", 1, { zero: true }),
  one("staleness_seconds", "Age of the acting weights", "s", 1, { zero: true }),
  one("fps", "Capture", "frames/s, all actors", 1, { zero: true }),
  one("unread", "Unread in the stream", "frames", 0, { zero: true }),
  one("replay_ratio", "Replay ratio", "frames trained on ÷ admitted", 2, { zero: true }),
];
const probes = Object.keys(UNITS).map((probe) => {
  const lines = ENCODERS.map((encoder) => ({ ...encoder, name: `${probe}_${encoder.name}` }));
  return new Chart({ title: probe[0].toUpperCase() + probe.slice(1), unit: UNITS[probe], digits: 3, lines });
});
const bits = new Chart({ title: "Mean by kind", unit: "memory bits", digits: 2, lines: KINDS });
const rankme = one("rankme", "RankMe", "effective dimensions", 1);
const map = new HeatMap();

const at = (id) => document.getElementById(id);
const buttons = { pause: at("pause"), resume: at("resume"), save: at("save") };
const cards = new Map();
const tiles = new Map();
const past = { names: [], spacing: 0, points: [] };
let pending = null;
let known = -1;
let state = "";

async function ask(path, options = {}) {
  const answer = await fetch(path, { ...options, signal: AbortSignal.timeout(PATIENCE) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.status === 204 ? null : answer.json();
}

function tile(name, value, note, mark = "") {
  if (!tiles.has(name)) {
    const found = { value: made("b"), note: made("span"), mark: "" };
    found.element = made("div", "tile card", made("dt", "", name), made("dd", "", found.value, found.note));
    tiles.set(name, found);
    at("tiles").append(found.element);
  }
  const found = tiles.get(name);
  say(found.value, value);
  say(found.note, note);
  found.element.dataset.mark = mark;
}

function showTiles({ learner, stream, actors, evaluator }) {
  const lost = stream.missed + actors.reduce((sum, actor) => sum + actor.lost, 0);
  const late = actors.reduce((sum, actor) => sum + actor.late, 0);
  const stepped = learner.step > 0;
  const now = learner.step || learner.waiting ? (WAITING[learner.waiting] ?? learner.waiting) : "starts";
  tile("frames/s", decimal(actors.reduce((sum, actor) => sum + actor.fps, 0), 1), plural(actors.length, "actor"));
  tile("frames lost", count(lost), `${lost ? "! " : ""}${count(late)} late, ${count(stream.quarantined)} broken`, lost ? "bad" : "");
  tile("loss", stepped ? decimal(learner.loss, 4) : NONE, `step ${count(learner.step)}`);
  tile("images/s", stepped ? decimal(learner.images_per_second, 1) : NONE, now);
  tile("replay ratio", stepped ? decimal(learner.replay_ratio, 2) : NONE,
    learner.capacity ? `ring ${Math.round((100 * learner.ring) / learner.capacity)} % of ${count(learner.capacity)}` : "no ring yet");
  tile("weights", learner.version ? `v${count(learner.version)}` : NONE,
    learner.version ? `${plural(learner.staleness_versions, "version")}, ${decimal(learner.staleness_seconds, 1)} s stale` : "none yet");
  tile("stream", count(stream.entries), stream.up ? `frames, ${size(stream.memory)}` : "! Redis does not answer", stream.up ? "" : "bad");
  if (evaluator) tile("evaluations", count(evaluator.evaluations), evaluator.version ? `last of v${count(evaluator.version)}` : evaluator.activity || "none yet");
}

function card(actor) {
  const found = { frames: 0, facts: new Map(), picture: made("div", "picture", made("span", "empty", "no frame yet")) };
  found.flag = made("span", "flag");
  found.list = made("dl", "pairs");
  for (const name of ["world", "frames/s", "weights", "captured", "late, lost"]) {
    const value = made("dd");
    found.facts.set(name, value);
    found.list.append(made("dt", "", name), value);
  }
  found.element = made("article", "actor card", found.picture,
    made("div", "facts", made("h3", "", actor.name, " ", found.flag), found.list));
  return found;
}

function showActors(actors, newest) {
  if (actors.length && !cards.size) at("actors").replaceChildren();
  for (const actor of actors) {
    if (!cards.has(actor.name)) {
      cards.set(actor.name, card(actor));
      at("actors").append(cards.get(actor.name).element);
    }
    const found = cards.get(actor.name);
    const behind = newest - actor.version;
    const flag = actor.ended ? "ended" : actor.paused ? "paused" : actor.unfit ? `! ${actor.unfit.replaceAll("_", " ")}` : "";
    say(found.flag, flag);
    say(found.facts.get("world"), actor.world || NONE);
    say(found.facts.get("frames/s"), decimal(actor.fps, 1));
    say(found.facts.get("weights"), actor.version ? `v${count(actor.version)}${behind > 0 ? `, ${count(behind)} behind` : ", newest"}` : NONE);
    say(found.facts.get("captured"), `${count(actor.frames)} frames`);
    say(found.facts.get("late, lost"), `${count(actor.late)}, ${actor.lost ? "! " : ""}${count(actor.lost)}`);
    found.element.dataset.mark = actor.lost || actor.unfit ? "look" : "";
    if (actor.frames && actor.frames !== found.frames && !document.hidden) {
      found.frames = actor.frames;
      const next = new Image();
      next.alt = `newest frame of ${actor.name}`;
      next.addEventListener("load", () => found.picture.replaceChildren(next));
      next.src = `/live/frames/${encodeURIComponent(actor.name)}?n=${actor.frames}`;
    }
  }
}

function pairs(list, found) {
  list.replaceChildren(...found.flatMap(([name, value]) => [made("dt", "", name), made("dd", "", value)]));
}

function time(study, name) {
  const median = study.times[name];
  if (!median) return study.missing[name] ?? "not measured yet";
  const end = (number) => (number === null ? NONE : number.toFixed(0));
  return `${median.value.toFixed(0)} s [${end(median.low)}, ${end(median.high)}]`;
}

function showTimes(study) {
  at("times").hidden = !study;
  if (!study) return;
  pairs(at("times"), [["until remembered (T_mem)", time(study, "t_mem")], ["until forgotten (T_forget)", time(study, "t_forget")]]);
}

function showHealth({ learner, evaluator, stream, restarts, curiosity }) {
  const measures = Object.entries({ ...learner.health, ...evaluator?.health });
  const again = Object.entries(restarts).map(([part, times]) => `${part} ×${times}`);
  pairs(at("health"), [
    ["restarts", again.join(", ") || "none"],
    ["held back, rolled back", `${count(learner.held)}, ${count(learner.rollbacks)}`],
    ["experiences", count(learner.experiences)],
    ["admitted, withheld", `${count(stream.admitted)}, ${count(stream.withheld)} frames`],
    ...(evaluator ? [["evaluator", `${evaluator.activity || "waits"}, ${decimal(100 * evaluator.core_share, 0)} % of a core`]] : []),
    ...(curiosity ? [["curiosity", curiosity]] : []),
    ...measures.filter(([, value]) => value !== null).map(([name, value]) => [name.replaceAll("_", " "), decimal(value, Number.isInteger(value) ? 0 : 3)]),
  ]);
}

function showMessages(messages) {
  const list = at("messages");
  if (list.dataset.newest === messages.join("\n")) return;
  list.dataset.newest = messages.join("\n");
  list.replaceChildren(...messages.toReversed().map((message) => made("li", "", message)));
  if (!messages.length) list.append(made("li", "", "nothing to report"));
}

/** Shows the state in words, and lets the buttons be pressed that change it. */
function showState(name, words) {
  state = name;
  say(at("state"), words);
  document.body.dataset.state = name;
  const still = name === "paused" || name === "pausing";
  const steerable = !pending && (still || name === "active" || name === "resuming");
  buttons.pause.disabled = !steerable || still;
  buttons.resume.disabled = !steerable || !still;
  buttons.save.disabled = !steerable;
}

function show(status) {
  document.title = `${status.phase} · ${status.run} · engram`;
  say(at("run"), status.run);
  const [name, words] = status.phase === "starting" ? ["starting", "starting"]
    : status.phase === "stopping" ? ["stopping", "stopping"] : [status.state, STATES[status.state] ?? status.state];
  if (pending && pending.done(name)) settle("");
  showState(name.replaceAll(" ", "-"), words);
  const bar = at("progress");
  bar.hidden = !status.duration;
  bar.value = status.duration ? Math.min(1, status.elapsed / status.duration) : 0;
  say(at("clock"), status.duration ? `${clock(status.elapsed)} of ${clock(status.duration)}` : clock(status.elapsed));
  showTiles(status);
  showActors(status.actors, status.learner.version);
  showHealth(status);
  showTimes(status.study);
  showMessages(status.messages);
}

async function showHistory() {
  const last = past.points.at(-1)?.[0];
  let found = await ask(last === undefined ? "/live/history" : `/live/history?after=${last}`);
  const other = found.spacing !== past.spacing || found.now?.[0] < last;
  if (other && past.points.length) found = await ask("/live/history");
  if (other) past.points = [];
  Object.assign(past, { names: found.names, spacing: found.spacing });
  past.points.push(...found.points);
  const points = found.now ? [...past.points, found.now] : past.points;
  for (const chart of [...learning, ...probes, bits, rankme]) chart.show(past.names, points);
  const some = probes.some((chart) => chart.measured);
  for (const chart of probes) chart.element.hidden = some && !chart.measured;
}

async function showMap() {
  const found = await ask(`/live/memory?known=${known}`);
  if (!found) return;
  known = found.evaluations;
  map.show(found);
}

function settle(words) {
  pending = null;
  say(at("answer"), words);
}

async function press(button) {
  const [path, words, done] = {
    pause: ["/api/pause", "Pausing …", (name) => name === "paused"],
    resume: ["/api/resume", "Resuming …", (name) => name === "active"],
    save: ["/api/save-state", "Saving …", null],
  }[button];
  pending = { done: done ?? (() => false) };
  const mine = pending;
  showState(state, at("state").textContent);
  say(at("answer"), words);
  try {
    await ask(path, { method: "POST" });
    if (!done) settle("Asked to save: the messages say when it is on disk.");
    else setTimeout(() => pending === mine && settle("Not every part has followed yet."), 15000);
  } catch (error) {
    settle(`That was not taken: ${error.message}`);
  }
}

async function live() {
  for (let round = 0; ; round += 1) {
    try {
      show(await ask("/live/status"));
      if (!document.hidden || round === 0) {
        await showHistory();
        if (round % 4 === 0) await showMap();
      }
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof DOMException)) console.error(error);
      settle("");
      const ended = state === "stopping" || state === "shutting-down";
      showState("lost", ended ? "the run has ended" : "connection lost: the run has ended, or cannot be reached");
      document.title = "no connection · engram";
    }
    await new Promise((resolve) => setTimeout(resolve, EVERY));
  }
}

at("learning").append(...learning.map((chart) => chart.element));
at("probes").append(...probes.map((chart) => chart.element));
at("memory").append(bits.element, rankme.element);
at("map").append(map.element);
for (const [name, button] of Object.entries(buttons)) button.addEventListener("click", () => press(name));
live();
