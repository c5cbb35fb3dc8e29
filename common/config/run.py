"""The whole run in one value: worlds, actors, stream, learner, evaluator."""

from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from math import inf
from pathlib import Path
from typing import Any, ClassVar

from common.config import checks
from common.config.control import ControlConfig
from common.config.curiosity import CuriosityConfig
from common.config.learner import LearnerConfig
from common.config.placement import PlacementConfig
from common.config.screen import ScreenConfig
from common.config.script import parse_script
from common.config.units import ByteCount, Seconds
from common.config.vrchat import VRChatConfig
from common.errors import ConfigError

AGENTS = ("babbler", "curious", "explorer", "rambler", "scripted", "still", "walker")
"""Who may decide what an actor does; `actors.agents` has a module for each."""


class VisitOrder(StrEnum):
    """How an actor goes through its worlds."""

    CYCLE = "cycle"
    """World after world, each actor starting at another one, over and over."""
    SHUFFLE = "shuffle"
    """A new random order of all worlds each round."""
    RANDOM = "random"
    """Each next world drawn at random, never the same twice in a row."""


@dataclass(frozen=True, kw_only=True)
class WorldConfig:
    """Where the actors go.

    Attributes:
        kind: The kind of environment, as `engram worlds` lists them.
        worlds: Worlds that are visited, for example `freedoom2:map01`, `freedoom1:e1m1`.
        placebo_worlds: Worlds of the probe set that no actor ever visits.
        visit: Length of a visit, seconds of system time.
        order: How worlds follow each other.
        image_size: Height and width of a frame, pixels.
        loop: Films of the kind `video` begin anew when all were shown; without it, the run ends then.
        fade: Seconds in which a film of the kind `video` gives way to the next.
    """

    GROUP: ClassVar[str] = "world"

    kind: str = "doom"
    worlds: tuple[str, ...] = (
        "freedoom2:map01",
        "freedoom2:map03",
        "freedoom2:map05",
        "freedoom1:e1m1",
        "freedoom1:e1m2",
        "freedoom1:e2m1",
    )
    placebo_worlds: tuple[str, ...] = ("freedoom2:map12", "freedoom1:e3m1")
    visit: Seconds = 60.0
    order: VisitOrder = VisitOrder.CYCLE
    image_size: tuple[int, int] = (96, 96)
    loop: bool = True
    fade: Seconds = 0.0
    screen: ScreenConfig = ScreenConfig()
    vrchat: VRChatConfig = VRChatConfig()

    def __post_init__(self) -> None:
        checks.positive(self, "visit")
        checks.not_negative(self, "fade")
        if not self.worlds:
            raise checks.refuse(self, "worlds", "must name at least one world")
        if both := set(self.worlds) & set(self.placebo_worlds):
            raise checks.refuse(
                self, "placebo_worlds", f"must not be visited: take {', '.join(sorted(both))} out of worlds"
            )
        if min(self.image_size) < 16 or max(self.image_size) > 1024:
            raise checks.refuse(self, "image_size", "each side must be from 16 to 1024 pixels")


@dataclass(frozen=True, kw_only=True)
class ActorConfig:
    """The processes that live in the worlds.

    Attributes:
        count: Number of actors.
        edge: Actors besides that may join from hosts outside Ray (`python -m actors`); they are `actor-N` from
            N = `count` on.
        fps: Steps a second.
        agent: Who decides: `curious` (seeks what it cannot foresee, and learns to), `explorer` (seeks what it has not
            seen, by ground truth), `walker` (turns when stuck), `rambler` (a random walk with the controls of
            `curious`), `babbler` (at random, for worlds whose controls nobody knows), `scripted`, or `still`.
        script: What `scripted` does, over and over, for example `ahead:3s left+ahead:1.5s use:0.2s`.
        threads: CPU threads of torch in each actor.
        spool: Seconds of frames kept in memory while Redis is slow or gone; then the oldest is dropped and counted.
        spool_bytes: Bytes of frames kept; whichever bound is reached first counts.
        pull_every: Shortest time between two weights versions that an actor takes; later ones come as soon as they are
            published.
        boredom: Cosine similarity of consecutive features above which the view counts as unchanged.
    """

    GROUP: ClassVar[str] = "actors"

    count: int = 2
    edge: int = 0
    fps: float = 10.0
    agent: str = "explorer"
    script: str = ""
    threads: int = 1
    spool: Seconds = 30.0
    spool_bytes: ByteCount = 512 * 2**20
    pull_every: Seconds = 1.0
    boredom: float = 0.9999

    def __post_init__(self) -> None:
        checks.between(self, 0, 256, "count", "edge")
        if not self.total:
            raise checks.refuse(self, "count", "must be at least 1, or edge must be")
        checks.between(self, 1, 60, "fps")
        checks.positive(self, "threads", "spool", "spool_bytes", "pull_every")
        checks.between(self, 0, 1, "boredom")
        checks.one_of(self, AGENTS, "agent")
        if self.script or self.agent == "scripted":
            try:
                parse_script(self.script)
            except ValueError as error:
                raise checks.refuse(self, "script", str(error)) from None

    @property
    def total(self) -> int:
        """All actors, those on hosts outside Ray included."""
        return self.count + self.edge


class Durability(StrEnum):
    """What of the stream outlives the death of its server, or of the whole run."""

    MEMORY = "memory"
    """Nothing: what was not read yet is lost, and counted."""
    AOF = "aof"
    """All but about the last second: the server appends each write to a file, synced once a second."""
    SNAPSHOT = "snapshot"
    """What was there at the last checkpoint: the server writes itself to disk after each."""


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """The replay stream in Redis.

    Attributes:
        budget: Bytes that all actors' streams may hold together; their lengths follow from it.
        durability: What outlives the server: nothing (`memory`), all but about the last second (`aof`, about half the
            write rate), or what was there at the last checkpoint (`snapshot`). The embedded server keeps its files in
            the run directory; your own must be set up for `aof`.
        weights: Keep the newest published weights in Redis too, for readers outside Ray; `actors.edge` does so as well.
        codec: How frames are packed: `raw` bit for bit, or `jpeg`, about a tenth of the bytes with its artefacts.
        jpeg_quality: From 1 to 100.
        experience: Length of an experience (one block of a visit), seconds.
        withhold: Keep one of each five consecutive blocks of a visit from all learners, as a control.
        salt: What chooses that block; learners with the same salt train on the same frames of a stream. Empty takes the
            run's seed.
        heartbeat: Seconds between signs of life of a process.
    """

    GROUP: ClassVar[str] = "stream"

    budget: ByteCount = 256 * 2**20
    durability: Durability = Durability.MEMORY
    weights: bool = False
    codec: str = "raw"
    jpeg_quality: int = 95
    experience: Seconds = 10.0
    withhold: bool = True
    salt: str = ""
    heartbeat: Seconds = 1.0

    def __post_init__(self) -> None:
        checks.positive(self, "budget", "heartbeat")
        checks.one_of(self, ("raw", "jpeg"), "codec")
        checks.between(self, 1, 100, "jpeg_quality")
        if not 1 < self.experience < inf:
            raise checks.refuse(self, "experience", "must be longer than the guard band of 1 s")


@dataclass(frozen=True, kw_only=True)
class EvaluatorConfig:
    """The process that measures what the learner's weights know.

    Attributes:
        enabled: Off for a run without measurements.
        every: Shortest time between two evaluations, seconds.
        share: Share of one core that evaluations may use, averaged over time.
        threads: CPU threads of torch in the evaluator.
        nice: Unix niceness of the evaluator's process.
        trajectories: Walks a world in the probe set; every fourth is the test set. Memory bits tell a target from 255
            frames of its world and other walks, or from all there are, at least 64.
        frames: Frames a walk.
        frames_per_experience: Frames by which an experience is measured (K), at least 2: each measure is taken on
            the even and on the odd ones too.
        experiences: Most experiences that are followed at once, placebos included.
        cache: Folder that keeps probe sets; empty for the user's cache folder.
    """

    GROUP: ClassVar[str] = "evaluator"

    enabled: bool = True
    every: Seconds = 30.0
    share: float = 0.5
    threads: int = 1
    nice: int = 19
    trajectories: int = 24
    frames: int = 12
    frames_per_experience: int = 8
    experiences: int = 256
    cache: str = ""

    def __post_init__(self) -> None:
        checks.positive(self, "every", "threads", "frames")
        checks.between(self, 0.01, 64, "share")
        checks.between(self, 0, 19, "nice")
        checks.between(self, 4, 1000, "trajectories")
        checks.between(self, 2, 64, "frames_per_experience")
        checks.positive(self, "experiences")


@dataclass(frozen=True, kw_only=True)
class PlaybackConfig:
    """A recording that takes the actors' place: `engram replay`.

    Attributes:
        recording: Its folder; empty for actors that live.
        speed: Seconds of the recording's system time a second of wall clock; 0 goes as fast as learner and evaluator
            take it, missing nothing and with all steps that the replay ratio asks for.
        start: System time of its first datum, seconds: where the run's clock begins.
    """

    GROUP: ClassVar[str] = "playback"

    recording: str = ""
    speed: float = 1.0
    start: float = 0.0

    def __post_init__(self) -> None:
        checks.between(self, 0, 1000, "speed")

    @property
    def waits(self) -> bool:
        """Whether the recording waits for its readers."""
        return bool(self.recording) and not self.speed


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run: worlds, actors, stream, learner, evaluator; or a recording in the actors' place.

    Attributes:
        preset: Name of the preset that this config started from.
        duration: Length of the run in seconds of wall clock; 0 runs until it is stopped.
        run_dir: Folder of the run; made new, and left as it is if it exists. Empty gives `runs/<date>-<preset>`.
        cluster: Address of the Ray cluster whose hosts the parts live on, `auto` on its head; empty for this machine
            alone.
        redis_url: `redis://…` or `rediss://…` of your own server; empty starts an embedded one. The variable
            `ENGRAM_REDIS_URL` says the same without showing a password in the list of processes.
        seed: Seed of everything random: schedules, initialisation, masks, sampling.
        restarts: How often one part may die in ten minutes before the run gives up.
        silence: Time without a sign of life, after its first, after which a part counts as hung and is started anew;
            longer than one optimiser step takes.
        cut: The same for parts on other hosts than the driver's, whose network may be cut for a while; `silence` where
            that is longer.
        retention: How long pictures stay after the run has ended, in its checkpoints, among the experiences that were
            followed and in recordings of it; `engram expire` then removes them. 0 keeps them.
        metrics_port: Port on loopback where Prometheus finds all processes (`/sd`); 0 takes a free one.
    """

    GROUP: ClassVar[str] = ""

    preset: str = "demo"
    duration: Seconds = 600.0
    run_dir: str = ""
    cluster: str = ""
    redis_url: str = ""
    seed: int = 0
    restarts: int = 10
    silence: Seconds = 15.0
    cut: Seconds = 60.0
    retention: Seconds = 0.0
    metrics_port: int = 0
    world: WorldConfig = WorldConfig()
    actors: ActorConfig = ActorConfig()
    stream: StreamConfig = StreamConfig()
    learner: LearnerConfig = LearnerConfig()
    curiosity: CuriosityConfig = CuriosityConfig()
    evaluator: EvaluatorConfig = EvaluatorConfig()
    playback: PlaybackConfig = PlaybackConfig()
    control: ControlConfig = ControlConfig()
    placement: PlacementConfig = PlacementConfig()

    def __post_init__(self) -> None:
        checks.not_negative(self, "duration", "restarts", "retention", "cut")
        checks.positive(self, "silence")
        if not 0 <= self.seed < 2**63:
            raise checks.refuse(self, "seed", "must be from 0 to 2^63 - 1")
        for name, seconds in (("stream.heartbeat", self.stream.heartbeat), ("learner.slice", self.learner.slice)):
            if seconds > self.silence / 3:
                raise checks.refuse(self, name, f"must be at most a third of silence = {self.silence:g} s")
        checks.between(self, 0, 65535, "metrics_port")
        if self.redis_url and not self.redis_url.startswith(("redis://", "rediss://", "unix://")):
            scheme = self.redis_url.partition("://")[0]
            raise ConfigError("redis_url", f"{scheme}://…", "must start with redis://, rediss:// or unix://")
        self.learner.masks.check_grid(self.learner.model.grid(self.world.image_size))
        stale = self.learner.replay.max_staleness
        if 0 < stale <= self.actors.pull_every:
            raise checks.refuse(
                self,
                "learner.replay.max_staleness",
                f"must be 0 or above actors.pull_every = {self.actors.pull_every:g} s: actors follow no faster",
            )
        if self.playback.waits and self.learner.ranks > 1:
            raise checks.refuse(self.playback, "speed", "must be above 0 where learner.ranks is above 1")
        least = 64 * self.world.image_size[0] * self.world.image_size[1] * 3 * self.actors.total
        if self.stream.budget < least:
            raise checks.refuse(self, "stream.budget", f"must hold 64 frames an actor, {least} bytes")
        if self.playback.recording and self.actors.edge:
            raise checks.refuse(self.actors, "edge", "must be 0 where a recording takes the actors' place")

    @property
    def curious(self) -> bool:
        """Whether somebody acts whose networks are to be trained."""
        return self.actors.agent == "curious" and not self.playback.recording

    @property
    def path(self) -> Path:
        """The run directory."""
        return Path(self.run_dir)


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Lists the leaves of nested config values by dotted path."""
    leaves: dict[str, Any] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            leaves |= flatten(value, f"{prefix}{item.name}.")
        else:
            leaves[f"{prefix}{item.name}"] = value
    return leaves
