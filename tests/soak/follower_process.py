"""One encoder that follows weights over Redis: `python -m tests.soak.follower_process '{"url": …, "folder": …}'`.

Encodes ten frames a second. `follower.json` says each second how many, how many versions acted, and which acts now.
"""

import json
import sys
from pathlib import Path

from actors.context import StepContext
from actors.inference import FollowingEncoder
from actors.pacing import DeadlineAdjustor
from common.broadcast import RedisWeightSource, WeightKeys
from common.messages import VersionInfo
from common.process import settle
from common.stream import connect
from tests.faults.writer_process import dump
from tests.soak.conditions import STREAM, soak_run, some_frames, until_terminated

FPS = 10


def main(url: str, folder: Path) -> None:
    ended = until_terminated()
    run = soak_run(url)
    settle(part="follower", threads=run.actors.threads)
    acted = 0

    def note(_info: VersionInfo) -> None:
        nonlocal acted
        acted += 1

    encoder = FollowingEncoder(
        run.learner.model,
        run.world.image_size,
        context=StepContext(),
        source=RedisWeightSource(connect(url), WeightKeys(STREAM)),
        every=run.actors.pull_every,
        seed=run.seed,
        swapped=note,
    )
    pace = DeadlineAdjustor(1 / FPS)
    pace.reset()
    frames = some_frames()
    encoded = 0

    def tell() -> None:
        version, digest = encoder.acting_digest()
        dump("follower", {"encoded": encoded, "acted": acted, "version": version, "digest": digest}, folder)

    while not ended.is_set():
        encoder.infer(frames[encoded % len(frames)])
        encoded += 1
        if encoded % FPS == 0:
            tell()
        pace.adjust()
    encoder.close()
    tell()


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    main(asked["url"], Path(asked["folder"]))
