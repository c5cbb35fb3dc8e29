"""`ray up deploy/cluster.yaml` on three hosts, and what the table of faults in deploy/README.md says, in order.

The tests are one story: each begins with what the one before has left.
"""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.fleet import Fleet, fleet, on
from tests.cluster.hosts import FakeHost
from tests.runs import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]

OFFERED: tuple[dict[str, float], ...] = ({}, {}, {"vrchat": 2})
RUN = "engram run --cluster auto --preset demo --placement.actors vrchat --actors.fps 5 --actors.spool 2m"
"""VRChat itself is not to be had; its resource is, and the demo's worlds are played where it is offered."""
LIFE = "~/runs/life"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet"), OFFERED) as made:
        made.up()
        wait_until(lambda: made.members() == 3, 300, "both workers join")
        yield made


def events(cluster: Fleet, run: str = LIFE) -> list[dict[str, Any]]:
    return [json.loads(line) for line in on(cluster.head, f"cat {run}/events.jsonl").splitlines()]


def restarts(cluster: Fleet) -> list[str]:
    return [event["part"] for event in events(cluster) if event["kind"] == "restart"]


def status(cluster: Fleet, run: str = LIFE) -> dict[str, Any]:
    return json.loads(on(cluster.head, f"engram status {run} --json"))


def shells(host: FakeHost) -> set[str]:
    """Parts that live there."""
    return set(re.findall(r"^ray::.*?(\w+Shell)\b", "\n".join(host.processes()), re.MULTILINE))


def captured(cluster: Fleet) -> list[int]:
    return [actor["counts"]["captured"] for actor in status(cluster)["actors"]]


def grows(cluster: Fleet, within: float) -> None:
    """Makes sure that all actors capture and the learner steps."""
    before, step = captured(cluster), status(cluster)["learner"]["step"]
    wait_until(
        lambda: (
            all(now > then + 20 for now, then in zip(captured(cluster), before, strict=True))
            and status(cluster)["learner"]["step"] > step
        ),
        within,
        "frames and steps go on",
    )


def test_code_and_environment_reach_every_host(cluster: Fleet) -> None:
    versions = {on(host, "engram --version").strip() for host in cluster.hosts.each}
    assert len(versions) == 1
    for host in cluster.hosts.each:
        assert on(host, "ls -d ~/pamiq-engram/.venv ~/pamiq-engram/.git 2>/dev/null", check=False).split() == [
            "/root/pamiq-engram/.venv"
        ]
        assert on(host, "stat -c %a ~/engram-keys ~/engram-keys/ray_token").split() == ["700", "600"]


def test_a_run_of_five_minutes(cluster: Fleet) -> None:
    begun = time.monotonic()
    cluster.say(f"tmux new-session -d -s first '{RUN} --duration 5m --run-dir ~/runs/first > ~/first.log 2>&1'")
    wait_until(lambda: "LearnerShell" in shells(cluster.hosts.each[1]), 120, "the learner lives on the free worker")
    wait_until(lambda: shells(cluster.hosts.each[2]) == {"ActorShell"}, 120, "actors live where vrchat is offered")
    wait_until(lambda: shells(cluster.head) == {"EvaluatorShell"}, 120, "the evaluator lives on the head")
    wait_until(lambda: status(cluster, "~/runs/first")["phase"] == "running", 120, "it runs")
    targets = json.loads(on(cluster.head, f"curl -s {status(cluster, '~/runs/first')['metrics_url']}"))
    hosts = {target["labels"]["part"]: target["labels"]["host"] for target in targets}
    assert hosts["actor-0"] == hosts["actor-1"] == cluster.hosts.each[2].address
    assert hosts["learner"] == cluster.hosts.each[1].address
    for target in targets:
        url = f"http://{target['targets'][0]}{target['labels'].get('__metrics_path__', '/metrics')}"
        assert "engram_" in on(cluster.head, f"curl -s {url}"), target
    wait_until(lambda: events(cluster, "~/runs/first")[-1]["kind"] == "stopped", 480, "it ends by itself")
    assert time.monotonic() - begun > 300
    assert not [event for event in events(cluster, "~/runs/first") if event["kind"] in ("restart", "failed")]
    wait_until(lambda: "run directory" in on(cluster.head, "cat ~/first.log"), 60, "it says how it went")
    assert "✗" not in on(cluster.head, "cat ~/first.log")
    assert {"actor-0.journal", "actor-1.journal"} <= set(on(cluster.head, "ls ~/runs/first/actors").split())
    assert not on(cluster.hosts.each[2], "ls ~/.local/state/engram 2>/dev/null", check=False).split()


def test_a_run_as_a_ray_job(cluster: Fleet) -> None:
    run = f"{RUN} --evaluator.no-enabled --duration 20s --run-dir ~/runs/job"
    job = f". ~/pamiq-engram/deploy/profile.sh && cd && {run}"
    said = cluster.say(f'ray job submit --address http://127.0.0.1:8265 -- bash -c "{job}"')
    assert "succeeded" in said
    assert events(cluster, "~/runs/job")[-1]["kind"] == "stopped"


def test_a_killed_worker_takes_its_parts_along_and_brings_them_back(cluster: Fleet) -> None:
    cluster.say(
        f"tmux new-session -d -s life '{RUN} --evaluator.no-enabled --duration 2h --run-dir {LIFE} > ~/life.log 2>&1'"
    )
    wait_until(lambda: "LearnerShell" in shells(cluster.hosts.each[1]), 120, "the learner lives")
    wait_until(lambda: status(cluster)["learner"]["step"] > 2, 180, "it learns")
    cluster.hosts.each[2].kill()
    wait_until(lambda: set(restarts(cluster)) == {"actor-0", "actor-1"}, 120, "the driver knows")
    ratio = "waits for frames once it has used up what it has"
    wait_until(lambda: status(cluster)["learner"]["waiting"] == "ratio", 240, f"the learner goes on, and {ratio}")
    cluster.hosts.boot(2)
    wait_until(lambda: cluster.members() == 3, 400, "Ray's autoscaler starts Ray there again")
    wait_until(lambda: shells(cluster.hosts.each[2]) == {"ActorShell"}, 120, "actors are back")
    grows(cluster, 120)


def test_a_network_cut_for_half_a_minute_loses_nothing(cluster: Fleet) -> None:
    before, frames, began = restarts(cluster), captured(cluster), time.monotonic()
    lost = [actor["counts"]["dropped"] for actor in status(cluster)["actors"]]
    cluster.hosts.each[2].plug(in_=False)
    time.sleep(10)
    cut = captured(cluster)
    time.sleep(20)
    assert captured(cluster) == cut, "nothing is heard of it"
    cluster.hosts.each[2].plug(in_=True)
    wait_until(lambda: all(not actor["counts"]["spooled"] for actor in status(cluster)["actors"]), 60, "spools drain")
    grows(cluster, 120)
    least = 0.7 * 5 * (time.monotonic() - began)
    assert all(now - then > least for now, then in zip(captured(cluster), frames, strict=True)), "it captured all along"
    assert restarts(cluster) == before
    assert [actor["counts"]["dropped"] for actor in status(cluster)["actors"]] == lost


def test_ray_restarted_on_a_worker(cluster: Fleet) -> None:
    worker, before = cluster.hosts.each[1], len(restarts(cluster))
    on(worker, "engram node --stop", timeout=180)
    wait_until(lambda: "learner" in restarts(cluster)[before:], 120, "the learner is placed anew")
    on(worker, f"engram node --address {cluster.head.address}:6379", timeout=180)
    wait_until(lambda: cluster.members() == 3, 120, "the worker is back")
    grows(cluster, 180)


def test_a_host_with_other_code_is_refused(cluster: Fleet) -> None:
    worker = cluster.hosts.each[1]
    on(worker, "engram node --stop", timeout=180)
    on(worker, "echo '# changed' >> ~/pamiq-engram/deploy/version.py")
    said = worker.run(f"source ~/.bashrc; engram node --address {cluster.head.address}:6379", check=False, timeout=180)
    versions = {on(host, "engram --version").split()[-1] for host in (cluster.head, worker)}
    assert said.returncode == 2
    assert len(versions) == 2
    assert all(version in said.stderr for version in versions)
    assert "raylet" not in " ".join(worker.processes())
    on(worker, "sed -i '$d' ~/pamiq-engram/deploy/version.py")
    on(worker, f"engram node --address {cluster.head.address}:6379", timeout=180)
    wait_until(lambda: cluster.members() == 3, 120, "with the right code it comes in")


def test_a_stopped_head_ends_the_run_and_takes_its_workers_up_again(cluster: Fleet) -> None:
    raylets = [on(host, "pgrep -x raylet").split() for host in cluster.workers]
    saved = [event for event in events(cluster) if event["kind"] == "checkpoint"][-1]
    on(cluster.head, "engram node --stop", timeout=180)
    wait_until(lambda: not shells(cluster.hosts.each[1]) | shells(cluster.hosts.each[2]), 120, "parts end with it")
    said = on(cluster.head, "RAY_enable_autoscaler_v2=0 engram node --head --again --redis ~/engram-keys/redis.conf")
    assert "3 hosts are in the cluster" in said
    assert [on(host, "pgrep -x raylet").split() for host in cluster.workers] == raylets
    wait_until(lambda: cluster.members() == 3, 300, "after the autoscaler has set them up again too")
    cluster.say(f"tmux new-session -d -s more 'engram resume {LIFE} --duration 1h > ~/more.log 2>&1'")
    wait_until(lambda: events(cluster)[-1]["kind"] in ("all_actors_live", "checkpoint"), 180, "it goes on")
    assert status(cluster)["learner"]["step"] >= saved["step"]
    grows(cluster, 180)
    assert "has ended" in on(cluster.head, f"engram stop {LIFE}", timeout=180)


def test_ray_down_leaves_nothing(cluster: Fleet) -> None:
    cluster.down()
    for host in cluster.hosts.each:
        wait_until(lambda host=host: not host.processes(), 180, f"nothing runs on {host.name}: {host.processes()}")
        listening = on(host, "ss -ltnH").splitlines()
        assert all(line.split()[3].endswith(":22") for line in listening), listening
