"""A host that joins a cluster: its own file, its token, its command."""

import socket
from pathlib import Path

import pytest

from common.errors import ConfigError
from deploy.cli import main
from deploy.host import Host
from deploy.node import NodeCommand, is_local, remember, start_command
from deploy.ray_token import check_token, make_token
from deploy.version import code_version


def host(tmp_path: Path, text: str) -> Host:
    path = tmp_path / "host.yaml"
    path.write_text(text)
    return Host.load(path)


def test_a_host_says_what_it_offers(tmp_path: Path) -> None:
    found = host(tmp_path, 'resources: {vrchat: 1}\ngpus: 0\naddress: 10.0.0.3\nenvironment: {DISPLAY: ":0"}\n')
    assert (found.resources, found.gpus, found.address, found.cpus) == ({"vrchat": 1}, 0, "10.0.0.3", None)
    assert found.environment == {"DISPLAY": ":0"}
    assert host(tmp_path, "") == Host.load(tmp_path / "none.yaml") == Host()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("resource: {vrchat: 1}", r"host\.resource = .* is unknown .* allowed are resources, cpus"),
        ("resources: vrchat", r"host\.resources = 'vrchat': must map names to numbers above 0"),
        ("resources: {vrchat: 0}", "must map names to numbers above 0"),
        ("resources: {vrchat: yes}", "must map names to numbers above 0"),
        ("gpus: -1", r"host\.gpus = -1: must be a whole number from 0"),
        ("gpus: true", "must be a whole number from 0"),
        ("environment: {DISPLAY: 0}", "must map names to texts in quotes"),
        ("address: 10", "must be a host's name or address"),
        ("- vrchat", "must be a mapping of resources"),
        ("{", "cannot be read"),
    ],
)
def test_what_it_cannot_say_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        host(tmp_path, text)


def test_the_token_must_be_there_and_private(tmp_path: Path) -> None:
    token = tmp_path / "auth_token"
    with pytest.raises(ConfigError, match="cannot be read"):
        check_token(token)
    token.touch(0o600)
    with pytest.raises(ConfigError, match="is empty"):
        check_token(token)
    token.write_text("secret")
    check_token(token)
    token.chmod(0o640)
    with pytest.raises(ConfigError, match="is open to others: chmod 600 it") as error:
        check_token(token)
    assert "secret" not in str(error.value)


def test_the_command_is_rays() -> None:
    offered = Host(resources={"vrchat": 1}, gpus=0, address="10.0.0.3")
    words = start_command(NodeCommand(address="10.0.0.1:6379"), offered, version="0.1.0-aa")
    assert words[0] == "start"
    for word in (
        "--address=10.0.0.1:6379",
        "--node-ip-address=10.0.0.3",
        "--num-gpus=0",
        '--resources={"vrchat": 1}',
        "--labels=engram.version=0.1.0-aa",
        "--node-manager-port=8077",
        "--max-worker-port=10999",
    ):
        assert word in words
    head = start_command(NodeCommand(head=True), Host(), version="0.1.0-aa")
    assert {"--head", "--port=6379", "--dashboard-host=127.0.0.1"} <= set(head)
    assert not any(word.startswith(("--num-gpus", "--node-ip", "--address")) for word in head)


@pytest.mark.parametrize("words", [[], ["--head", "--stop"], ["--head", "--address", "10.0.0.1:6379"]])
def test_one_thing_at_a_time(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["node", *words]) == 2
    assert "must have one of --head, --address HOST:PORT and --stop" in capsys.readouterr().err


def test_the_version_is_of_the_code_that_is_here() -> None:
    release, _, digest = code_version().rpartition("-")
    assert release
    assert len(digest) == 8
    assert int(digest, 16) >= 0


def test_a_private_token_is_made_once_and_kept_from_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    path = tmp_path / "ray" / "auth_token"
    make_token(path)
    made = path.read_text("utf-8")
    path.chmod(0o644)
    make_token(path)
    assert len(bytes.fromhex(made)) == 32
    assert path.read_text("utf-8") == made
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("")
    make_token(path)
    assert len(bytes.fromhex(path.read_text("utf-8"))) == 32, "an empty one is none"
    assert path.read_text("utf-8") != made
    check_token(path)
    assert [entry.name for entry in path.parent.iterdir()] == ["auth_token"]


def test_a_head_forgets_its_cluster_unless_it_is_to_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "head"
    with pytest.raises(ConfigError, match="holds no cluster"):
        remember(folder, again=True)
    told = remember(folder, again=False)
    assert told == {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(folder)}
    (folder / "session_name").write_text("session_1")
    remember(folder, again=True)
    assert (folder / "session_name").exists()
    remember(folder, again=False)
    assert not any(folder.iterdir())
    assert folder.stat().st_mode & 0o777 == 0o700


def test_again_is_for_heads(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["node", "--address", "127.0.0.1:6379", "--again"]) == 2
    assert "--head" in capsys.readouterr().err


def test_a_head_on_a_taken_port_is_refused_before_it_forgets_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("ENGRAM_HOST_FILE", str(tmp_path / "host.yaml"))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "t" * 64)
    known = tmp_path / "engram" / "head"
    known.mkdir(parents=True)
    (known / "session_name").write_text("session_1")
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert main(["node", "--head", "--port", str(other.getsockname()[1])]) == 2
    assert "is taken" in capsys.readouterr().err
    assert (known / "session_name").exists()


def test_only_hosts_of_ones_own_need_the_older_autoscaler(tmp_path: Path) -> None:
    file = tmp_path / "ray_bootstrap_config.yaml"
    assert not is_local(file)
    file.write_text("provider: {type: aws}\n")
    assert not is_local(file)
    file.write_text('{"provider": {"type": "local", "head_ip": "10.0.0.1"}}')
    assert is_local(file)
