"""The recordings and probe sets of a study: made where they are missing, checked where they are there."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.progress import Progress

from actors.worlds.kinds import kind_of
from common.config import RunConfig
from common.errors import ConfigError
from common.recording import Recording
from deploy.probe_set import record_probe_set
from deploy.recordings.imported import record_videos
from deploy.recordings.tour import record
from deploy.studies.plan import Study, Trial
from deploy.studies.recorded import digest_of, is_whole
from evaluator.probeset import ProbeSpec


def prepare(study: Study, trials: Sequence[Trial], cache: Path, progress: Progress) -> dict[str, str]:
    """Makes everything that the trials read, unless it is there.

    Args:
        study: What is compared.
        trials: What is going to be done.
        cache: Folder where checksums are kept.
        progress: Shows how far it is.

    Returns:
        Checksum of each recording, by its folder's name.

    Raises:
        ConfigError: A recording is another than the study asks for, or its frames have another size.
        RecordingError: The study's own recording is missing or damaged.
        RunError: A game did not start, or hung.
    """
    streams = {trial.recording: study.stream(trial.variant) for trial in trials}
    for path, run in streams.items():
        if not is_whole(path):
            _make(study, path, run, progress)
        _check_fits(path, run)
    digests = {path.name: digest_of(path, cache) for path in streams}
    if study.digest and (wrong := {name: found for name, found in digests.items() if found != study.digest}):
        name, found = next(iter(wrong.items()))
        allowed = f"is not the checksum of {name}, {found}: it is another stream, or was made by another program"
        raise ConfigError("study.digest", study.digest, allowed)
    specs = {ProbeSpec.of(trial.config): trial.config for trial in trials if kind_of(trial.config.world).truth}
    for spec, config in specs.items():
        probes = spec.cache_path(config.evaluator.cache)
        if not probes.exists():
            task = progress.add_task("recording the probe set", total=None)
            record_probe_set(spec, probes)
            progress.update(task, total=1, completed=1)
    return digests


def _make(study: Study, path: Path, run: RunConfig, progress: Progress) -> None:
    if study.recording is not None:
        Recording(path)  # says what is wrong with it
        allowed = "was broken off: `engram recordings check` says what is left of it"
        raise ConfigError("study.recording", str(path), allowed)
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(path, ignore_errors=True)
    if study.videos is not None:
        record_videos(run, [study.videos], path, progress=progress)
    else:
        record(run, path, progress=progress)


def _check_fits(path: Path, run: RunConfig) -> None:
    recorded = Recording(path).config()
    if recorded is None:
        return
    expected: Mapping[str, tuple[object, object]] = {
        "world.image_size": (run.world.image_size, recorded.world.image_size),
        "stream.experience": (run.stream.experience, recorded.stream.experience),
    }
    for name, (asked, found) in expected.items():
        if asked != found:
            raise ConfigError(name, asked, f"must be {found}, as the recording {path.name} has it")
