"""What a run was, in words; how much was lived, read and trained on; what was lost on the way."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from common.config import RunConfig
from deploy.report.blocks import Section, table
from deploy.report.material import Material, Report, Row
from deploy.wording import clock, count

_FATES = {
    "admitted": "admitted for training",
    "withheld": "withheld as a control",
    "guard": "guard band between the two",
    "gated": "refused by the buffer's own rule",
    "quarantined": "unreadable",
    "missed": "gone before they were read",
}
_QUIET = {"checkpoint", "started", "stopped", "all_actors_live"}
_MOST_EVENTS = 12

_LEAD = (
    "An image encoder was trained while an agent lived: its pictures arrive as one stream, never end, resemble each "
    "other and change when the agent goes elsewhere. The stream is cut into experiences, blocks of a few seconds. "
    "Some are withheld from training on purpose, and some worlds (placebos) are never entered: whatever the encoder "
    "seems to know of those, it does not know from having been trained on them. This page compares exposed "
    "experiences with both."
)


def section(report: Report) -> Section:
    """Writes the section."""
    several = len(report.runs) > 1
    blocks = [f"<p>{words(run)}</p>" for run in report.runs[:1]]
    if several:
        blocks.append(
            f"<p>This page holds {len(report.runs)} runs. Tables show them side by side; times of memory and "
            f"forgetting pool them as one study. Figures over time, pictures and neighbours show the first, "
            f"{report.first.name}: take a page of its own for each of the others.</p>"
        )
    blocks.append(f'<div class="pair">{_lived(report.runs)}{_measured(report.runs)}</div>')
    for run in report.runs:
        if rows := _events(run):
            title = f"What happened besides training{f' in {run.name}' if several else ''}"
            blocks.append(table(["time (UTC)", "event", "details"], rows, title))
    return Section(name="run", title="What this run was", lead=_LEAD, blocks=blocks)


def words(run: Material) -> str:
    """Says in a paragraph what was asked for."""
    config = run.config
    if config is None:
        return "Its configuration is missing, or was written by another version of the program."
    return " ".join((_life(config), _training(config), _measuring(config, len(run.heads))))


def _life(config: RunConfig) -> str:
    world, actors = config.world, config.actors
    placebos = len(world.placebo_worlds)
    return (
        f"Preset {config.preset}, seed {config.seed}. {_plural(actors.count, 'actor')} "
        f"({actors.agent} agent, {actors.fps:g} frames a second of {world.image_size[1]}×{world.image_size[0]} pixels) "
        f"lived in {_plural(len(world.worlds), 'world')}, {world.visit:g} s a visit, in {world.order} order; "
        f"{_plural(placebos, 'placebo world')} {'was' if placebos == 1 else 'were'} never entered. "
        f"An experience is a block of {config.stream.experience:g} s; "
        + (
            "one of each five blocks was withheld from training."
            if config.stream.withhold
            else "none was withheld, so memory of experiences has no control within a visit."
        )
    )


def _training(config: RunConfig) -> str:
    model, optim, replay = config.learner.model, config.learner.optim, config.learner.replay
    return (
        f"The encoder is a vision transformer, {model.dim} wide and {model.depth} deep, on patches of "
        f"{model.patch_size} pixels; I-JEPA trains it to predict the features of hidden patches. It saw batches of "
        f"{optim.batch_size} frames out of a buffer of {count(replay.capacity)} (kept by {replay.keep}), at most "
        f"{replay.replay_ratio:g} uses a frame on average, with {optim.optimizer}, learning rate {optim.lr:g}, "
        f"EMA {optim.ema:g}."
    )


def _measuring(config: RunConfig, versions: int) -> str:
    evaluator = config.evaluator
    return (
        f"The evaluator measured {_plural(versions, 'version')} of the weights, {evaluator.every:g} s apart at the "
        f"least, with {evaluator.share:.0%} of one core at the most."
    )


def _lived(runs: Sequence[Material]) -> str:
    names = {
        "length": [_clock(run.metric("driver", "driver_elapsed_seconds")) for run in runs],
        "frames captured": [_number(run.metric("actor", "actor_captured_frames_total")) for run in runs],
        "not written: unfit, or lost": [_number(run.metric("actor", "actor_dropped_frames_total")) for run in runs],
        "written to the stream": [_number(run.metric("actor", "actor_written_frames_total")) for run in runs],
        **{
            f"→ {words}": [_number(run.metric("learner", "learner_read_entries_total", fate=fate)) for run in runs]
            for fate, words in _FATES.items()
        },
        "visits of which something was measured": [count(len(run.visits)) for run in runs],
        "restarts of processes": [_number(run.metric("driver", "driver_restarts_total") or 0.0) for run in runs],
    }
    return _table(names, runs, "What was lived, and lost")


def _measured(runs: Sequence[Material]) -> str:
    names = {
        "optimiser steps": [_number(run.metric("learner", "learner_step")) for run in runs],
        "images in them": [_number(run.metric("learner", "learner_images_total")) for run in runs],
        "uses of an admitted frame, mean": [_number(run.metric("learner", "learner_replay_ratio"), 2) for run in runs],
        "versions held back for bad health": [
            _number(run.metric("learner", "learner_candidates_held_total")) for run in runs
        ],
        "rollbacks": [_number(run.metric("learner", "learner_rollbacks_total")) for run in runs],
        "weights versions measured": [count(len(run.heads)) for run in runs],
        "versions passed over": [_number(run.of_last("skipped")) for run in runs],
        "experiences measured": [count(len(run.run.names)) for run in runs],
        "given up to stay within bounds": [_number(run.of_last("experiences", "thinned")) for run in runs],
        "gaps in what is known of training": [_number(run.of_last("ledger_gaps")) for run in runs],
    }
    return _table(names, runs, "What was trained on, and measured")


def _table(names: Mapping[str, Sequence[str]], runs: Sequence[Material], caption: str) -> str:
    return table(["", *(run.name for run in runs)], [[name, *cells] for name, cells in names.items()], caption)


def _events(run: Material) -> list[list[str]]:
    rows = [_event(row) for row in run.events if row.get("kind") not in _QUIET]
    if len(rows) > _MOST_EVENTS:
        rows = [*rows[:_MOST_EVENTS], ["", f"and {len(rows) - _MOST_EVENTS} more", "in events.jsonl"]]
    return rows


def _event(row: Row) -> list[str]:
    moment = datetime.fromtimestamp(float(row.get("t", 0.0)), UTC)
    details = {name: value for name, value in row.items() if name not in ("v", "t", "utc", "kind")}
    return [
        f"{moment:%Y-%m-%d %H:%M:%S}",
        str(row.get("kind")).replace("_", " "),
        ", ".join(f"{name} {value}" for name, value in details.items())[:160],
    ]


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _clock(seconds: float | None) -> str:
    return "–" if seconds is None else clock(seconds)


def _number(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"
