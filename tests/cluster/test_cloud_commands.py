"""What the cloud files have hosts do, done by hosts made of namespaces; machines themselves only a cloud can give."""

from pathlib import Path

import pytest

from tests.cluster.fleet import fleet, on
from tests.runs import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

_STAND_INS = {
    "sudo": 'exec "$@"',
    "apt-get": 'echo "apt-get $*" >> /root/said',  # Ubuntu's packages cannot be had from here
    "systemctl": 'echo "systemctl $*" >> /root/said',
}


def test_two_hosts_come_up_by_them_and_live(tmp_path: Path) -> None:
    offered: tuple[dict[str, float], ...] = ({}, {"capture": 2})
    with fleet(tmp_path, offered, template="cluster-aws.yaml", name="engram-head") as cluster:
        cluster.environment = {"RAY_UP_enable_autoscaler_v2": "0"}  # as deploy/cluster.yaml, for local hosts
        for host in cluster.hosts.each:
            for name, script in _STAND_INS.items():
                host.write(f"/usr/local/bin/{name}", f"#!/bin/sh\n{script}\n")
                host.run(f"chmod +x /usr/local/bin/{name}")
        cluster.up()
        wait_until(lambda: cluster.members() == 2, 300, "the worker joins")
        for host in cluster.hosts.each:
            assert on(host, "getent hosts engram-head").split()[0] == cluster.head.address
            said = on(host, "cat /root/said")
            assert "apt-get install -y -qq make python3.12-venv redis-server" in said
            assert "systemctl disable --now redis-server" in said
        run = "engram run --cluster auto --preset demo --placement.actors capture --actors.fps 4 --evaluator.no-enabled"
        cluster.say(f"{run} --duration 30s --run-dir ~/runs/cloud")
        assert '"kind":"stopped"' in on(cluster.head, "tail -1 ~/runs/cloud/events.jsonl")
        cluster.down()
        for host in cluster.hosts.each:
            wait_until(lambda host=host: not host.processes(), 180, f"nothing is left: {host.processes()}")
