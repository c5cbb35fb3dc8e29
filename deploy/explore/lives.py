"""Lives in processes of their own, several at a time; one whose game hangs is begun anew.

The engine of a game can hang while it starts, or take its process along when it dies (ViZDoom 1.3.2).
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from actors.worlds.doom_folder import sweep_leftovers
from common.errors import EngramError, RunError
from common.ijepa.vit import VisionTransformer
from common.process import settle, undisturbed
from deploy.explore.life import Life, Visit
from deploy.explore.plan import LIVE, RANDOM, Plan

PATIENCE = 120.0
"""Seconds without a step of a life after which it counts as hung."""
_ATTEMPTS = 5
_TOLD = 1.0
"""Seconds between two words of a life that goes on."""


@dataclass
class _Going:
    """A life that goes on."""

    agent: str
    seed: int
    process: BaseProcess
    told: Connection
    heard: float
    attempt: int


def live_all(
    plan: Plan, *, jobs: int, each: Callable[[str, int, float], None] = lambda agent, seed, share: None
) -> Iterator[tuple[str, int]]:
    """Lives all lives that are not on disk yet.

    Args:
        plan: Which.
        jobs: How many at a time.
        each: Told of agent, seed, and the share of a life that is over.

    Yields:
        Agent and seed of each life that has ended.

    Raises:
        RunError: A life failed, or hung again and again.
    """
    plan.out.mkdir(parents=True, exist_ok=True)
    todo = [(agent, seed) for agent, seed in plan.lives() if not plan.path(agent, seed).exists()]
    going: list[_Going] = []
    try:
        while todo or going:
            while todo and len(going) < jobs:
                going.append(_begin(plan, *todo.pop(0), attempt=1))
            ready = {id(connection) for connection in wait([one.told for one in going], timeout=1.0)}
            for one in list(going):
                told = _hear(one) if id(one.told) in ready else None
                if told is None and time.monotonic() - one.heard <= PATIENCE:
                    continue
                if isinstance(told, float):
                    each(one.agent, one.seed, told)
                    continue
                going.remove(one)
                _end(one)
                _draft(plan.path(one.agent, one.seed)).unlink(missing_ok=True)
                if told == "":
                    yield one.agent, one.seed
                elif told:
                    raise RunError(f"{one.agent}, seed {one.seed}: {told}")
                elif one.attempt == _ATTEMPTS:
                    raise RunError(f"{one.agent}, seed {one.seed}: its game hung or died {_ATTEMPTS} times")
                else:
                    going.append(_begin(plan, one.agent, one.seed, attempt=one.attempt + 1))
    finally:
        for one in going:
            _end(one)
        sweep_leftovers()


def _begin(plan: Plan, agent: str, seed: int, *, attempt: int) -> _Going:
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_live, args=(plan, agent, seed, sender), daemon=True)
    with undisturbed():
        process.start()
    sender.close()
    return _Going(agent, seed, process, receiver, time.monotonic(), attempt)


def _hear(one: _Going) -> float | str | None:
    """The share of a life that is over; an empty word at its end, a word on what went wrong, None after its death."""
    one.heard = time.monotonic()
    try:
        return json.loads(one.told.recv_bytes())
    except EOFError:
        one.heard = float("-inf")
        return None


def _end(one: _Going) -> None:
    one.process.kill()
    one.process.join()
    one.told.close()


def _live(plan: Plan, agent: str, seed: int, sender: Connection) -> None:
    """Lives one life, says how far it is, and writes its visits at the end."""
    run = plan.config(agent, seed)
    settle(part=f"{agent} {seed}", threads=run.learner.threads, nice=run.learner.nice)
    last = 0.0

    def tell(share: float) -> None:
        nonlocal last
        if time.monotonic() - last >= _TOLD:
            last = time.monotonic()
            sender.send_bytes(json.dumps(share).encode())

    try:
        life = Life(run, encoder=_encoder(plan), each=tell)
        path = plan.path(agent, seed)
        part = _draft(path)
        with part.open("w", encoding="utf-8") as file:
            for visit in life.visits(run.duration):
                file.write(json.dumps(row(visit, life.losses), ensure_ascii=False) + "\n")
        part.replace(path)
        sender.send_bytes(json.dumps("").encode())
    except EngramError as error:
        sender.send_bytes(json.dumps(str(error)).encode())


def _draft(path: Path) -> Path:
    """Where the visits of a life are until it is over."""
    return path.with_suffix(".part")


def row(visit: Visit, losses: dict[str, float]) -> dict[str, Any]:
    """A visit as a line of the results."""
    return {
        "actor": visit.actor,
        "visit": visit.number,
        "world": visit.world,
        "seconds": round(visit.seconds, 2),
        "cells": visit.cells,
        "new": visit.new,
        "track": [[round(spot.x), round(spot.y)] for spot in visit.track],
        "curiosity": asdict(visit.curiosity) if visit.curiosity else None,
        "losses": losses,
    }


def _encoder(plan: Plan) -> VisionTransformer | None:
    if plan.encoder == LIVE:
        return None
    import torch

    from common.ijepa.model import IJepa
    from deploy.starting import saved_run

    if plan.encoder == RANDOM:
        model = IJepa(plan.run.learner.model, plan.run.world.image_size, seed=0)
        return model.target_encoder.eval().requires_grad_(False)
    config, checkpoint = saved_run(Path(plan.encoder))
    model = IJepa(config.learner.model, config.world.image_size, seed=0)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in checkpoint.model.items()})  # pyright: ignore[reportUnknownMemberType]
    return model.target_encoder.eval().requires_grad_(False)
