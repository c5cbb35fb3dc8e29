"""A life faster than time: what an actor would see and write, without a stream, a learner or a clock."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from actors.agents import AgentSettings, make_agent
from actors.context import BUFFER
from actors.worlds import make_environment
from actors.worlds.kinds import WorldEnded
from common.config import RunConfig
from common.exposure import ExposureRule
from common.messages import Datum


def tour(run: RunConfig, *, index: int, frames: int) -> Iterator[Datum]:
    """Lives through the schedule of one actor.

    The agent has no encoder, so nothing depends on weights: the same arguments give the same frames on any machine. The
    clock begins at 0 and moves by one frame's time a step; wall clock and system time are the same.

    Args:
        run: Worlds, visits, frames a second, seed.
        index: Number of the actor.
        frames: How many.

    Yields:
        The data in order, numbered from 1; fewer where the world ends before.
    """
    step = 0
    name = f"actor-{index}"
    rule = ExposureRule.of(run)
    fps = run.actors.fps
    environment = make_environment(
        run.world, fps=fps, seed=run.seed * 1000 + index, actor_index=index, clock=lambda: step / fps
    )
    agent = make_agent(run.actors.agent, AgentSettings(seed=run.seed * 1000 + index, script=run.actors.script))
    action = np.zeros(0, np.float32)
    environment.setup()
    try:
        for step in range(frames):
            try:
                seen = replace(environment.observe(), captured_ns=round(step / fps * 1e9))
            except WorldEnded:
                return
            visit = f"{name}.1.{seen.visit:04d}"
            yield Datum(
                buffer=BUFFER,
                actor=name,
                seq=step + 1,
                ordinal=step,
                visit=visit,
                world=seen.world,
                experience=rule.experience(visit, seen.visit_time),
                captured_ns=seen.captured_ns,
                sent_ns=seen.captured_ns,
                system_time=step / fps,
                visit_time=seen.visit_time,
                weights_version=0,
                action=action,
                labels=seen.labels,
                data=seen.frame,
            )
            action = agent.step(seen)
            environment.affect(action)
    finally:
        environment.teardown()
