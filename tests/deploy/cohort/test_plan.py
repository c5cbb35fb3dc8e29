"""A cohort's file: what it makes of a configuration, and what is refused in words before anything starts."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.config import RunConfig
from common.config.files import to_yaml
from common.config.run import flatten
from common.errors import ConfigError
from common.exposure import ExposureRule
from deploy.cli import main
from deploy.cohort.plan import Enrolment, Plan, folder_of
from deploy.memory import check_memory, member_needs, needs, object_store_bytes
from deploy.placement import LocalPlacement, equal_shares
from tests.runs import small_run

GIB = 2**30
TWO: dict[str, Any] = {"small": {}, "large": {"learner.model.dim": 96, "seed": 7}}


def write(folder: Path, **changes: object) -> Path:
    path = folder / "cohort.yaml"
    path.write_text(yaml.safe_dump({"v": 1, "members": TWO} | changes, sort_keys=False))
    return path


@pytest.fixture
def run(tmp_path: Path) -> RunConfig:
    return small_run(tmp_path / "run", tmp_path / "cache")


def test_members_differ_in_what_they_say_and_in_nothing_else(tmp_path: Path, run: RunConfig) -> None:
    plan = Plan.load(write(tmp_path, base={"learner.optim.lr": 1e-4, "actors.fps": 5}))
    made = plan.enrol(plan.start(run))
    assert made.acting == "small"
    assert list(made.others) == ["large"]
    small, large = flatten(made.run), flatten(made.others["large"])
    assert {name for name in small if small[name] != large[name]} == {"learner.model.dim", "seed", "run_dir"}
    wanted = {"learner.model.dim": 96, "seed": 7, "learner.optim.lr": 1e-4, "actors.fps": 5}
    assert {name: large[name] for name in wanted} == wanted
    assert made.others["large"].path == folder_of(run, "large") == run.path / "members" / "large"


def test_all_withhold_what_a_run_with_the_seed_of_the_one_that_acts_would(tmp_path: Path, run: RunConfig) -> None:
    for acting, seed in (("small", 0), ("large", 7)):
        made = Plan.load(write(tmp_path, acting=acting)).enrol(run)
        alone = ExposureRule.of(replace(run, seed=seed))
        assert {ExposureRule.of(made.run), *map(ExposureRule.of, made.others.values())} == {alone}
    salted = replace(run, stream=replace(run.stream, salt="mine"))
    assert Plan.load(write(tmp_path)).enrol(salted).others["large"].stream.salt == "mine"


def test_a_cohort_is_read_again_as_it_was(tmp_path: Path, run: RunConfig) -> None:
    members = {**TWO, "large": {**TWO["large"], "gpu": 0.75}}
    made = Plan.load(write(tmp_path, acting="large", members=members)).enrol(run)
    for config in (made.run, *made.others.values()):
        config.path.mkdir(parents=True)
        (config.path / "config.yaml").write_text(to_yaml(config))
    (made.run.path / "cohort.yaml").write_text(made.write())
    again = Enrolment.read(made.run)
    assert again is not None
    assert (again.acting, again.run, dict(again.others)) == (made.acting, made.run, dict(made.others))
    assert again.gpus["large"] == 0.75
    assert math.isnan(again.gpus["small"])
    (made.run.path / "cohort.yaml").unlink()
    assert Enrolment.read(made.run) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"members": {"a": {}}}, "cohort.members = 1: must be at least 2"),
        ({"members": {}}, "cohort.members = 0: must be at least 2"),
        ({"members": [1, 2]}, "cohort.members = [1, 2]: must be a group"),
        ({"members": {"a": {}, "b/c": {}}}, "cohort.members = 'b/c': must be 1 to 32 letters"),
        ({"members": {"a": {}, "..": {}}}, "cohort.members = '..': must be 1 to 32 letters"),
        ({"members": {"a": {}, "x" * 33: {}}}, "must be 1 to 32 letters"),
        ({"members": {"a": {}, "A": {}}}, "cohort.members = 'A': must differ from a"),
        ({"members": {"a": {}, "b": 3}}, "cohort.members.b = 3: must be a group"),
        ({"acting": "third"}, "cohort.acting = 'third': must be a member: small, large"),
        ({"action": "small"}, "cohort.action = 'small': fields are v, acting, base, members"),
        ({"v": 2}, "must be a cohort of schema 1"),
        ({"members": {"a": {}, "b": {"world.visit": 3.0}}}, "b: world.visit = 3.0: is the stream's"),
        ({"members": {"a": {}, "b": {"actors.count": 3}}}, "b: actors.count = 3: is the stream's"),
        ({"members": {"a": {}, "b": {"stream.salt": "x"}}}, "b: stream.salt = 'x': is the stream's"),
        ({"members": {"a": {}, "b": {"gpu": 1.5}}}, "b: gpu = 1.5: must be a share of a GPU"),
        ({"members": {"a": {}, "b": {"gpu": True}}}, "b: gpu = True: must be a share of a GPU"),
    ],
)
def test_files_that_cannot_work_are_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as told:
        Plan.load(write(tmp_path, **changes))
    assert said in str(told.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"learner.model.dimension": 96}, "b: learner.model.dimension = 96: is no field of the configuration"),
        ({"learner.model.dim": "wide"}, "b: learner.model.dim = 'wide': must be of type int"),
        ({"learner.model.dim": 50}, "b: learner.model"),
        ({"learner.ranks": 2}, "b: learner.ranks = 2: must be 1 in a cohort"),
        ({"learner.replay.max_staleness": 9.0}, "b: learner.replay.max_staleness = 9.0: must be 0 in a cohort"),
        ({"learner.replay.staleness_half_life": 9.0}, "b: learner.replay.staleness_half_life = 9.0: must be 0"),
    ],
)
def test_members_that_cannot_train_are_named(
    tmp_path: Path, run: RunConfig, changes: dict[str, Any], said: str
) -> None:
    plan = Plan.load(write(tmp_path, members={"a": {}, "b": changes}))
    with pytest.raises(ConfigError) as told:
        plan.enrol(run)
    assert said in str(told.value)


def test_a_base_that_cannot_be_is_named(tmp_path: Path, run: RunConfig) -> None:
    with pytest.raises(ConfigError, match=r"base: learner\.modle\.dim = 3: is no field"):
        Plan.load(write(tmp_path, base={"learner.modle.dim": 3})).start(run)


@pytest.mark.parametrize(
    ("members", "flags", "said"),
    [
        ({"a": {}, "b": {"world.visit": 1.0}}, (), "b: world.visit = 1.0: is the stream's"),
        ({"a": {}, "b": {"learner.replay.capacity": 10**8}}, (), "b: learner.replay.capacity = 100000000: the run may"),
        ({"a": {}, "b": {"learner.device": "cuda:900"}}, (), "b: learner.device = 'cuda:900': is not here"),
        (TWO, ("--playback", "none.rec"), "none.rec"),
        (TWO, ("--actors.count", "-1"), "actors.count"),
    ],
)
def test_the_command_line_refuses_before_anything_starts(
    tmp_path: Path,
    run: RunConfig,
    capsys: pytest.CaptureFixture[str],
    members: dict[str, Any],
    flags: tuple[str, ...],
    said: str,
) -> None:
    (tmp_path / "config.yaml").write_text(to_yaml(replace(run, run_dir="")))
    common = ["--config", str(tmp_path / "config.yaml"), "--run-dir", str(run.path), *flags]
    assert main(["cohort", str(write(tmp_path, members=members)), *common]) == 2
    assert said in capsys.readouterr().err
    assert not run.path.exists()


def test_a_file_must_be_given_and_be_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cohort", "--duration", "1m"]) == 2
    assert "file = '': must be given first" in capsys.readouterr().err
    assert main(["cohort", str(tmp_path / "none.yaml")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_memory_is_that_of_all_members(tmp_path: Path, run: RunConfig) -> None:
    members: dict[str, dict[str, Any]] = {name: {} for name in "abcdefgh"}
    made = Plan.load(write(tmp_path, members=members)).enrol(run)
    alone = sum(need.size for need in needs(made.run))
    each = sum(need.size for need in member_needs(made.others["b"]))
    check_memory(made.run, alone + 7 * each, name="a", others=made.others)
    with pytest.raises(ConfigError, match=r"GiB for its processes of h"):
        check_memory(made.run, alone + 7 * each - 1, name="a", others=made.others)
    check_memory(made.run, alone)
    objects = object_store_bytes(made.run, *made.others.values()) - object_store_bytes(made.run)
    assert objects == 7 * (object_store_bytes(made.run) - 512 * 2**20)


@pytest.mark.parametrize(
    ("asked", "gpus", "shares"),
    [
        ({"a": math.nan, "b": math.nan}, 0, {"a": 0.0, "b": 0.0}),
        ({"a": math.nan, "b": math.nan}, 1, {"a": 0.5, "b": 0.5}),
        ({"a": math.nan, "b": math.nan, "c": math.nan}, 1, {"a": 0.3333, "b": 0.3333, "c": 0.3333}),
        ({"a": 0.75, "b": math.nan, "c": math.nan}, 1, {"a": 0.75, "b": 0.125, "c": 0.125}),
        ({"a": math.nan, "b": math.nan, "c": math.nan}, 2, {"a": 0.5, "b": 0.5, "c": 0.5}),
        ({"a": math.nan, "b": math.nan}, 4, {"a": 1.0, "b": 1.0}),
        ({"a": 1.0, "b": math.nan, "c": math.nan}, 2, {"a": 1.0, "b": 0.5, "c": 0.5}),
    ],
)
def test_learners_fit_on_whole_gpus(asked: dict[str, float], gpus: int, shares: dict[str, float]) -> None:
    assert equal_shares(asked, gpus=gpus) == pytest.approx(shares)


@pytest.mark.parametrize("asked", [{"a": 0.75, "b": 0.75}, {"a": 1.0, "b": math.nan}])
def test_learners_that_do_not_fit_are_refused(asked: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"there is 1 GPU for 2"):
        equal_shares(asked, gpus=1)


def test_equal_shares_of_any_number_add_up_to_a_gpu_at_most() -> None:
    for members in range(1, 65):
        share = equal_shares({str(number): math.nan for number in range(members)}, gpus=1)["0"]
        assert 0.9 < round(share * 10_000) * members / 10_000 <= 1, members


def test_a_member_takes_its_share_where_there_is_a_gpu(run: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert LocalPlacement(run, gpus=0.25).learner().gpus == 0.25
    assert LocalPlacement(run).learner().gpus == 1.0
