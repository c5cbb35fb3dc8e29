"""What a cluster must have for several ranks, and that none is started that nobody asked for."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from common.config import LearnerConfig
from common.errors import ConfigError
from deploy.cluster import JoinedCluster, check_ranks

TWO = LearnerConfig(ranks=2)
LATE = """
import json, threading, psutil, ray
from deploy.cluster import LocalCluster, prepare_environment
prepare_environment()
cluster = LocalCluster(80 * 2**20)
cluster.start()
@ray.remote
class Part:
    def name(self):
        return "part"
part = Part.remote()
known = part.name.remote()
ray.get(known)
calls = [lambda: ray.get(part.name.remote()), lambda: ray.get(known), lambda: ray.wait([known]), ray.nodes, Part.remote]
cluster.stop()
said = []
def ask(call):
    try:
        call()
    except Exception as error:
        said.append(type(error).__name__)
for call in calls:
    thread = threading.Thread(target=ask, args=(call,))
    thread.start()
    thread.join()
names = [child.name() for child in psutil.Process().children(recursive=True)]
print(json.dumps([len(said) == len(calls), ray.is_initialized(), [name for name in names if "gcs" in name]]))
"""
TWICE = """
import threading, ray
from deploy.cluster import LocalCluster, prepare_environment
prepare_environment()
@ray.remote(num_cpus=0)
class Part:
    def name(self):
        return "part"
first = LocalCluster(80 * 2**20)
first.start()
first.stop()
second, known = LocalCluster(80 * 2**20), []
def drive():
    second.start()
    known.append(Part.remote())
    known.extend([known[0].name.remote() for _ in range(20)])
driver = threading.Thread(target=drive)
driver.start()
driver.join()
known.extend([known[0].name.remote() for _ in range(20)])
print(len(set(known)), len(ray.get(known[1:])))
second.stop()
"""
SLOW = """
import json, sys, time, types, psutil, ray
import ray._private.node as node, ray._private.services as services
from common.errors import RunError
from deploy.cluster import LocalCluster, prepare_environment
prepare_environment()
late, get_node, began = [int(sys.argv[1])], services.get_node, []
class Hurried:
    # For Ray the half minute is over at once, as often as was asked for.
    sleep, time = time.sleep, time.time
    @staticmethod
    def monotonic():
        began.append(0)
        return time.monotonic() + (60 if late[0] >= 0 and len(began) % 2 == 0 else 0)
def get(*arguments, **more):
    late[0] -= 1
    if late[0] >= 0:
        raise RuntimeError("not there yet")
    node.time = time
    return get_node(*arguments, **more)
node.time, services.get_node = Hurried, get
cluster = LocalCluster(80 * 2**20)
try:
    cluster.start()
    said = str(len(ray.nodes()))
except RunError as error:
    said = str(error)
heads = [
    one for one in psutil.Process().children(recursive=True) if "gcs_server" in one.name() and one.status() != "zombie"
]
print(json.dumps([said, len(heads)]))
cluster.stop()
"""


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("late", "said", "heads"), [(1, "1", 1), (9, "Ray did not come up in 3 times 30 s: the machine is busy", 0)]
)
def test_a_start_that_takes_too_long_is_tried_again(late: int, said: str, heads: int) -> None:
    words = [sys.executable, "-c", SLOW, str(late)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [said, heads]


@pytest.mark.parametrize(
    ("learner", "cpus", "gpus"),
    [
        (TWO, 2, 0),
        (TWO, 1, 2),
        (replace(TWO, device="cpu"), 2, 1),
        (LearnerConfig(threads=64), 1, 0),
    ],
)
def test_enough_is_enough(learner: LearnerConfig, cpus: int, gpus: int) -> None:
    check_ranks(learner, cpus=cpus, gpus=gpus)


@pytest.mark.parametrize(
    ("learner", "cpus", "gpus", "said"),
    [
        (TWO, 64, 1, "learner.ranks = 2: each rank needs a GPU of its own and there are 1; learner.device cpu"),
        (TWO, 1, 0, "learner.ranks = 2: with learner.threads = 1 they need 2 CPUs, and there are 1"),
        (replace(TWO, device="cpu", threads=2), 3, 8, "with learner.threads = 2 they need 4 CPUs, and there are 3"),
    ],
)
def test_too_little_is_said(learner: LearnerConfig, cpus: int, gpus: int, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        check_ranks(learner, cpus=cpus, gpus=gpus)


@pytest.mark.timeout(180)
def test_a_call_after_the_end_fails_and_starts_no_other_cluster() -> None:
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [True, False, []]


@pytest.mark.timeout(180)
def test_any_thread_may_start_the_next_cluster() -> None:
    """Where two threads count as one of Ray's tasks, the process ends without a word as they make the same call."""
    done = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["41", "40"]
    assert "SIGTERM" not in done.stderr


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", "nothing answers there: [Errno 111] Connection refused"),
        ("127.0.0.1:99999999999", "nothing answers there: "),
    ],
)
def test_an_address_where_nothing_listens_is_said_at_once(address: str, said: str) -> None:
    cluster = JoinedCluster(address)
    with pytest.raises(ConfigError, match=re.escape(f"cannot be joined ({said}")):
        cluster.start()
    cluster.stop()
