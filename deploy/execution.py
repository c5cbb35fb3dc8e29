"""From a configuration to a run that has ended: what can be checked is checked before anything starts.

The heavy imports come after the refusals.
"""

import os
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from rich.console import Console, Group
from rich.text import Text

from common.config import RunConfig
from common.config.files import to_yaml
from common.errors import ConfigError
from common.options import URL_VARIABLE, secret
from common.signing import given_key
from common.stream import check_server
from deploy.cohort.plan import FILE, Enrolment


def with_directory(config: RunConfig) -> RunConfig:
    """Names the run directory, where nobody has."""
    if config.run_dir:
        return config
    return replace(config, run_dir=str(Path("runs") / f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{config.preset}"))


def with_server(config: RunConfig) -> RunConfig:
    """Takes the server that the environment names, where the configuration names none."""
    return replace(config, redis_url=config.redis_url or secret(URL_VARIABLE))


@contextmanager
def of_whom(member: str) -> Generator[None]:
    """Settings that are refused in here are said to be this member's of a cohort."""
    try:
        yield
    except ConfigError as error:
        if not member:
            raise
        raise ConfigError(f"{member}: {error.field}", error.value, error.allowed) from None


def execute(config: RunConfig, *, resumed: bool, enrolment: Enrolment | None = None) -> int:
    """Checks what can be checked, then runs.

    Args:
        config: The run's configuration.
        resumed: Its directory holds an earlier part of it.
        enrolment: The cohort whose run it is; None for a plain one.

    Returns:
        The exit code.

    Raises:
        EngramError: It was refused, could not start, or failed.
    """
    name = enrolment.acting if enrolment else ""
    others: Mapping[str, RunConfig] = enrolment.others if enrolment else {}
    gpus: Mapping[str, float] = enrolment.gpus if enrolment else {}
    _check(config, name, others, gpus)
    from actors.worlds.doom_folder import sweep_leftovers
    from deploy.cohort.proof import agreement, closing
    from deploy.driver import Driver
    from deploy.member import Cohort, Enrolled
    from deploy.picture import draw
    from deploy.rundir import RunDirectory
    from deploy.signals import run_until_signalled
    from deploy.summary import read_evaluations, summary
    from deploy.view import LiveView

    directory = RunDirectory.open(config.path) if resumed else RunDirectory(config.path)
    enter = RunDirectory.open if resumed else RunDirectory
    enrolled: dict[str, Enrolled] = {}
    console = Console()
    begun = False
    try:
        enrolled |= {member: Enrolled(run=run, directory=enter(run.path)) for member, run in others.items()}
        if not resumed:
            for folder, run in ((directory, config), *((one.directory, one.run) for one in enrolled.values())):
                folder.write_text_atomic("config.yaml", to_yaml(run))
            if enrolment is not None:
                directory.write_text_atomic(FILE, enrolment.write())
        with LiveView(console) as view:
            cohort = Cohort(acting=name, others=enrolled, gpus=gpus)
            driver = Driver(config, directory, show=view.update, resumed=resumed, cohort=cohort)
            status = run_until_signalled(driver)
        begun = True
        for other in (one.directory for one in enrolled.values()):
            draw(read_evaluations(other.read_evaluations()), other.report / "summary.png", title=other.path.name)
        evaluations = read_evaluations(directory.read_evaluations())
        picture = draw(evaluations, directory.report / "summary.png", title=directory.path.name)
        events = directory.read_events()
        console.print(summary(status, evaluations, events, directory=directory.path, picture=picture))
        if enrolled:
            folders = {name: directory.path, **{member: one.directory.path for member, one in enrolled.items()}}
            console.print(Group(Text(), closing(status, agreement(folders))))
    finally:
        begun = begun or resumed or bool(directory.read_events())
        for folder in (directory, *(one.directory for one in enrolled.values())):
            folder.close()
        sweep_leftovers()  # of a probe set that was still being recorded
        if not begun:
            shutil.rmtree(directory.path)  # made by us a moment ago, and empty of anything that happened
    return 0


def _check(config: RunConfig, name: str, others: Mapping[str, RunConfig], gpus: Mapping[str, float]) -> None:
    """Refuses what cannot work before anything starts."""
    from actors.worlds import check_worlds
    from deploy.memory import check_memory

    if not config.playback.recording:  # else nobody enters a world
        check_worlds(config.world, here=config.actors.count > 0 and not config.cluster)
    if not config.cluster:
        check_memory(config, name=name, others=others)
    given_key()
    if config.redis_url:
        check_server(config.redis_url, budget=config.stream.budget, stream="check", durability=config.stream.durability)
    from deploy.cluster import prepare_environment

    prepare_environment()
    if config.control.enabled:
        from deploy.control.server import control_token

        control_token(config.control)
    from common.ijepa.masks import mask_sampler

    for member, run in ((name, config), *others.items()):
        with of_whom(member):
            if not config.cluster:
                check_device(run)
            mask_sampler(run.learner.masks, run.learner.model.grid(run.world.image_size), run.seed)
            check_cache(run)
    if others and not config.cluster:
        _check_shares(config, {name: config, **others}, gpus)


def _check_shares(config: RunConfig, members: Mapping[str, RunConfig], gpus: Mapping[str, float]) -> None:
    """Makes sure that the learners of a cohort fit on this machine's GPUs."""
    import torch

    from deploy.placement import equal_shares, of_curiosity

    given = {name: share for name, share in gpus.items() if members[name].learner.device != "cpu"}
    equal_shares(given, gpus=torch.cuda.device_count(), beside=of_curiosity(config))


def check_device(config: RunConfig) -> None:
    """Makes sure that the learner's GPU is here, and that each of several ranks has its own, or its own CPUs."""
    import torch

    from deploy.cluster import check_ranks

    device, found = config.learner.device, torch.cuda.device_count()
    if device not in ("auto", "cpu") and int(device.partition(":")[2] or 0) >= found:
        raise ConfigError("learner.device", device, f"is not here: {found} GPUs; auto takes one where there is one")
    check_ranks(config.learner, cpus=os.cpu_count() or 1, gpus=found)
    curiosity = config.curiosity
    if not config.curious or curiosity.device == "cpu" or (curiosity.device == "auto" and not found):
        return
    taken = config.learner.ranks if device != "cpu" else 0
    if taken + curiosity.gpus > found or int(curiosity.device.partition(":")[2] or 0) >= found:
        raise ConfigError(
            "curiosity.device", curiosity.device, f"must be cpu: {found} GPUs, of which I-JEPA takes {taken}"
        )


def check_cache(config: RunConfig) -> None:
    """Makes sure that the probe set can be kept, or is there already."""
    from actors.worlds.kinds import kind_of
    from evaluator.probeset import ProbeSpec

    path = ProbeSpec.of(config).cache_path(config.evaluator.cache)
    if not (config.evaluator.enabled and kind_of(config.world).truth) or path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("evaluator.cache", str(path.parent), f"cannot be made: {error.strerror}") from None
    if not os.access(path.parent, os.W_OK):
        raise ConfigError("evaluator.cache", str(path.parent), "must be a folder that can be written to")
