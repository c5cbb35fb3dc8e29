"""One actor in a world of noise: `python -m tests.soak.actor_process '{"url": …, "folder": …, "index": …}'`.

All of an actor but the game and the encoder. The sensor notes each capture by itself in the file `sensor`;
`counts.json` and `pace.json` follow each second.
"""

import json
import sys
import time as wall
from dataclasses import asdict
from pathlib import Path
from typing import override

from pamiq_core import time
from pamiq_core.data import DataCollectorsDict
from pamiq_core.interaction import Environment, FixedIntervalInteraction

from actors.agents import AgentSettings, make_agent
from actors.context import SituatedEnvironment, StepContext, StreamCollector
from actors.pacing import DeadlineAdjustor
from actors.worlds.sensor_log import SensorLog
from actors.worlds.visits import VisitSchedule
from common.config import WorldConfig
from common.exposure import ExposureRule
from common.messages import Action, Observation
from common.process import settle
from common.stream import CaptureJournal, Heartbeat, StreamKeys, StreamWriter, connect
from tests.faults.writer_process import dump
from tests.soak.conditions import STREAM, soak_run, some_frames, until_terminated

BUFFER = "frames"


class NoiseWorlds(Environment[Observation, Action]):
    """Shows noise, and moves to the next world when a visit is over.

    Args:
        world: Names of the worlds and length of a visit.
        index: Number of the actor.
        sensor_log: Notes each capture.
    """

    def __init__(self, world: WorldConfig, *, index: int, sensor_log: SensorLog) -> None:
        self._frames = some_frames()
        self._schedule = VisitSchedule(world.worlds, world.order, world.visit, index, start_offset=index)
        self._sensor_log = sensor_log
        self._seen = 0
        self._began = time.time()

    @override
    def observe(self) -> Observation:
        captured_ns = wall.time_ns()
        self._sensor_log.append(captured_ns)
        self._seen += 1
        visit, visit_time = divmod(time.time() - self._began, self._schedule.seconds)
        return Observation(
            frame=self._frames[self._seen % len(self._frames)].copy(),
            captured_ns=captured_ns,
            world=self._schedule.at(int(visit)),
            visit=int(visit),
            visit_time=visit_time,
        )

    @override
    def affect(self, action: Action) -> None:
        pass


def main(url: str, folder: Path, index: int) -> None:
    ended = until_terminated()
    run = soak_run(url)
    name = f"actor-{index}"
    settle(part=name, threads=run.actors.threads)
    keys = StreamKeys(STREAM)
    journal = CaptureJournal(folder / f"{name}.journal")
    writer = StreamWriter(
        lambda: connect(url),
        keys=keys,
        actor=name,
        journal=journal,
        budget=run.stream.budget // run.actors.count,
        spool=round(run.actors.spool * run.actors.fps),
        spool_bytes=run.actors.spool_bytes,
    )
    context = StepContext()
    collector = StreamCollector(
        buffer=BUFFER,
        actor=name,
        generation=journal.generation,
        context=context,
        rule=ExposureRule.of(run),
        writer=writer,
    )
    agent = make_agent("walker", AgentSettings(seed=index, collector=BUFFER))
    agent.attach_data_collectors(DataCollectorsDict({BUFFER: collector}))
    sensor_log = SensorLog(folder / "sensor")
    environment = NoiseWorlds(run.world, index=index, sensor_log=sensor_log)
    pace = DeadlineAdjustor(1 / run.actors.fps)
    interaction = FixedIntervalInteraction(agent, SituatedEnvironment(environment, context), pace)
    heartbeat = Heartbeat(
        connect(url), keys=keys, part=name, every=run.stream.heartbeat, progress=lambda: context.frames
    )

    def tell() -> None:
        dump("counts", asdict(writer.counts()), folder)
        dump("pace", {"late": pace.late, "skipped": pace.skipped}, folder)

    interaction.setup()
    while not ended.is_set():
        interaction.step()
        if context.frames % round(run.actors.fps) == 1:
            tell()
    interaction.teardown()
    heartbeat.close()
    writer.close()
    tell()
    journal.close()
    sensor_log.close()


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    main(asked["url"], Path(asked["folder"]), asked["index"])
