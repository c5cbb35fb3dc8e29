"""The trainers' process against a real server: rollouts in, models out, and everything over a stop."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch and safetensors are untyped in parts)

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pamiq_core import time as system_time

from actors.mind import ActorMind
from common import saved_files
from common.config import RunConfig
from common.config.presets import preset
from common.curiosity.models import DYNAMICS, POLICY, training_models
from common.curiosity.rollout import ROLLOUTS
from common.errors import WireError
from common.model_channel import RedisModelSink, RedisModelSource, remove_models
from common.model_states import snapshot
from common.stream import connect
from common.system_clock import ClockReading
from deploy.store import EmbeddedStore
from learner.curiosity.shell import CuriosityShell
from tests.learner.curiosity.rollouts import FEATURES, SMALL, make_rollout

STREAM = "s"


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    """Lets system time of this process go on as it was: the shell pauses it."""
    before = ClockReading.take()
    yield
    system_time.resume()
    before.apply()


def _run(store: EmbeddedStore) -> RunConfig:
    demo = preset("demo")
    model = replace(demo.learner.model, dim=FEATURES, heads=1)
    return replace(
        demo,
        redis_url=store.url,
        actors=replace(demo.actors, count=1, agent="curious"),
        learner=replace(demo.learner, model=model),
        curiosity=replace(SMALL, nice=0, share=8.0),
    )


def _wait(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.mark.timeout(240)
def test_rollouts_train_and_models_come_back(store: EmbeddedStore, tmp_path: Path) -> None:
    run = _run(store)
    shell = CuriosityShell(run, stream=STREAM)
    mind = ActorMind(run, stream=STREAM, actor="actor-0", folder=tmp_path)
    mind.start()
    for number in range(9):
        mind.collectors[ROLLOUTS].collect(make_rollout(seed=number).as_value())
    mind.collectors[ROLLOUTS].collect({"not": "a rollout"})
    _wait(lambda: shell.status().trainings >= 1 and shell.status().updates >= 4, "no training")
    _wait(lambda: shell.status().rollouts == 9, "not all was read")
    assert (shell.status().refused, shell.status().missed) == (1, 0)
    while not shell.status().paused:
        shell.pause()
    state = shell.state()
    assert shell.status().paused
    assert state is not None
    files = saved_files.unpack(state)
    trained = _parameters(files[f"models/{POLICY}.pt"], tmp_path)
    _wait(lambda: _acting_is(mind, trained), "the trained policy does not act")

    assert all(version > 0 for version in mind.versions().values())
    assert mind.check().written == 10
    shell.resume()
    status, last = shell.stop(5.0)
    mind.close()
    assert last is not None
    assert status.rollouts == 9

    again = CuriosityShell(run, stream=STREAM, state=last, behind=(0.0, time.time()))
    kept = again.state()
    assert kept is not None
    assert saved_files.unpack(kept) == saved_files.unpack(last)
    assert (again.status().trainings, again.status().updates) == (status.trainings, status.updates)
    time.sleep(0.3)
    assert again.status().rollouts == 9  # the stream is read on, not anew
    again.stop(5.0)


def _parameters(content: bytes, folder: Path) -> dict[str, torch.Tensor]:
    path = folder / "policy.pt"
    path.write_bytes(content)
    return torch.load(path, weights_only=True)


def _acting_is(mind: ActorMind, trained: dict[str, torch.Tensor]) -> bool:
    with mind.models[POLICY].unwrap() as network:  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
        acting: dict[str, torch.Tensor] = network.state_dict()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return all(torch.equal(tensor, acting[name]) for name, tensor in trained.items())


def test_only_tensors_travel(store: EmbeddedStore) -> None:
    client = connect(store.url)
    sink, source = RedisModelSink(client, STREAM), RedisModelSource(client, STREAM)
    with pytest.raises(WireError, match="only the tensors"):
        sink.publish(DYNAMICS, 1, b"F" + b"pickle")
    sink.publish(DYNAMICS, 1, b"Tnew")
    ((version, state),) = source.newer({DYNAMICS: 0, POLICY: 0}, 0.0).values()
    assert state == b"Tnew"
    assert source.newer({DYNAMICS: version}, 0.0) == {}
    client.flushall()  # as if the server had been restarted empty
    time.sleep(0.01)
    RedisModelSink(client, STREAM).publish(DYNAMICS, 1, b"Tnewer")  # by a restarted process, which counts anew
    ((later, state),) = source.newer({DYNAMICS: version}, 0.0).values()
    assert (later > version, state) == (True, b"Tnewer")
    remove_models(client, STREAM, (DYNAMICS, POLICY))
    assert not list(client.scan_iter("*model*"))


def test_a_foreign_model_changes_nothing(store: EmbeddedStore, tmp_path: Path) -> None:
    run = _run(store)
    other = replace(run.curiosity, policy=replace(run.curiosity.policy, dim=32))
    mind = ActorMind(run, stream=STREAM, actor="actor-0", folder=tmp_path)
    mind.start()
    sink = RedisModelSink(connect(store.url), STREAM)
    sink.publish(POLICY, 1, snapshot(training_models(other, FEATURES, seed=1)[POLICY]))
    sink.publish(DYNAMICS, 1, b"Tnonsense")
    time.sleep(2.0)
    assert mind.versions() == {DYNAMICS: 0, POLICY: 0}
    mind.check()
    good = training_models(run.curiosity, FEATURES, seed=1)
    for name in (DYNAMICS, POLICY):
        sink.publish(name, 2, snapshot(good[name]))
    _wait(lambda: all(mind.versions().values()), "good models do not come after bad ones")
    mind.close()


def test_publishing_to_a_server_that_is_gone_is_no_failure() -> None:
    store = EmbeddedStore(32 * 2**20)
    sink = RedisModelSink(connect(store.url), STREAM)
    store.stop()
    sink.publish(DYNAMICS, 1, b"Tnew")


def test_an_actor_acts_on_while_the_server_is_gone(tmp_path: Path) -> None:
    store = EmbeddedStore(32 * 2**20)
    run = _run(store)
    mind = ActorMind(run, stream=STREAM, actor="actor-0", folder=tmp_path)
    mind.start()
    store.stop()
    mind.collectors[ROLLOUTS].collect(make_rollout().as_value())
    time.sleep(1.5)
    counts = mind.check()
    assert counts.captured == 1 == counts.spooled
    mind.close()
    assert np.isfinite(sum(mind.versions().values()))
