"""`engram record FOLDER --import PATH`: videos of any program as a recording, as if an actor had watched them once.

What no file tells stays unknown: there are no actions, and labels only where a table lies beside a video
(`actors.worlds.film_labels`). Each video is one visit to a world of its name.
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.progress import Progress

from actors.context import BUFFER
from actors.worlds.kinds import Life, WorldEnded
from actors.worlds.video import VIDEO, VideoEnvironment
from common.config import RunConfig, VisitOrder
from common.errors import ConfigError
from common.exposure import ExposureRule
from common.messages import Datum
from common.recording import CRF, Manifest, Quality, RecordingWriter

ACTOR = "actor-0"


def record_videos(
    run: RunConfig,
    sources: Sequence[Path],
    path: Path,
    *,
    progress: Progress,
    quality: Quality = Quality.LOSSLESS,
    crf: int = CRF,
) -> int:
    """Imports videos, one after the other, at `actors.fps` by their time stamps.

    Args:
        run: Frames a second, their size, length of an experience.
        sources: Videos, folders of videos, folders of pictures.
        path: Folder to make.
        progress: Shows how far it is.
        quality: How frames are kept.
        crf: Constant rate factor of lossy video.

    Returns:
        Frames written.

    Raises:
        ConfigError: There is nothing to import, or what there is cannot be read.
        RecordingError: The folder exists, or cannot be written.
    """
    world = replace(
        run.world,
        kind=VIDEO.name,
        worlds=tuple(map(str, sources)),
        placebo_worlds=(),
        order=VisitOrder.CYCLE,
        loop=False,
        fade=0.0,
    )
    VIDEO.check(world)
    step, fps, rule = 0, run.actors.fps, ExposureRule.of(run)
    environment = VideoEnvironment(world, Life(fps=fps, seed=0, index=0, clock=lambda: step / fps))
    names = replace(world, worlds=tuple(source.name for source in sources))  # where they lay is nobody's business
    config = replace(run, world=names, actors=replace(run.actors, count=1), duration=0.0)
    task = progress.add_task(f"importing into {path.name}", total=None)
    environment.setup()
    writer = RecordingWriter(path, of=Manifest.new("import", config=config, quality=quality, crf=crf))
    try:
        while True:
            try:
                seen = environment.observe()
            except WorldEnded:
                break
            visit, moment = f"{ACTOR}.1.{seen.visit:04d}", round(step / fps * 1e9)
            writer.write(
                Datum(
                    buffer=BUFFER,
                    actor=ACTOR,
                    seq=step + 1,
                    ordinal=step,
                    visit=visit,
                    world=seen.world,
                    experience=rule.experience(visit, seen.visit_time),
                    captured_ns=moment,
                    sent_ns=moment,
                    system_time=step / fps,
                    visit_time=seen.visit_time,
                    weights_version=0,
                    action=np.zeros(0, np.float32),
                    labels=seen.labels,
                    data=seen.frame,
                )
            )
            step += 1
            progress.update(task, completed=step, description=f"importing {seen.world}: {step} frames")
        writer.close()
    except BaseException:
        shutil.rmtree(path)
        raise
    finally:
        environment.teardown()
    if environment.films.broken:
        progress.console.print(f"{environment.films.broken} videos ended before their time: see above")
    if not step:
        raise ConfigError("import", " ".join(map(str, sources)), "holds no frame that can be read")
    return step
