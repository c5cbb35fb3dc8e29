"""Names that would like to lead elsewhere: in recordings, checkpoints, streams, what actors hand over, rights."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from redis.exceptions import NoPermissionError

from actors.__main__ import main as live
from common.config.presets import preset
from common.errors import CheckpointError, RecordingError
from common.recording import Manifest, Recording, RecordingWriter
from common.recording.manifest import SEGMENTS, Segment, file_digest, load_segments, segment_line
from common.stream import StreamKeys, connect
from common.stream.control import announce_run
from deploy.access import Access
from deploy.cli import main
from deploy.keeping import bring_home
from deploy.rundir import RunDirectory
from deploy.store import EmbeddedStore
from learner import checkpoint as checkpoints
from learner.checkpoint import Checkpoint
from tests.security.servers import own_server
from tests.security.test_bounds import EVIL, Make

ELSEWHERE = [
    "../secret.parquet",
    "/etc/hostname",
    "..",
    ".",
    "",
    "a/000001.parquet",
    "000001.parquet/../../x",
    "000001.sh",
]


def recorded(folder: Path, make_datum: Make, **fields: Any) -> Path:
    with RecordingWriter(folder, of=Manifest.new("stream"), seconds=1.0) as writer:
        for seq in range(1, 5):
            writer.write(make_datum(seq=seq, ordinal=seq - 1, data=np.zeros((24, 24, 3), np.uint8), **fields))
    return folder


def first_of(path: Path) -> Segment:
    return next(iter(load_segments(path)[0].values()))


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_recording_names_no_file_outside_itself(tmp_path: Path, make_datum: Make, name: str) -> None:
    path = recorded(tmp_path / "home" / "a.rec", make_datum)
    segment = first_of(path)
    secret = tmp_path / "home" / "secret.parquet"
    secret.write_bytes((path / segment.table).read_bytes())
    table = {name: file_digest(secret)}  # its hash is right, and so is that of the line
    (path / SEGMENTS).write_bytes(segment_line(replace(segment, files=table)))
    found = Recording(path, on_damage=lambda _: None)
    assert found.segments == {}
    assert list(found) == []
    assert ["names files that no recorder writes" in reason for reason in found.wrong] == [True]


@pytest.mark.parametrize("name", ["../b.mkv", "/etc/hostname", "000009.mkv"])
def test_a_row_names_no_file_but_its_segments(tmp_path: Path, make_datum: Make, name: str) -> None:
    path = recorded(tmp_path / "a.rec", make_datum)
    segment = first_of(path)
    table: Any = cast(Any, pq).read_table(path / segment.table)
    rows = [{**row, "video": name} for row in table.to_pylist()]
    cast(Any, pq).write_table(cast(Any, pa).Table.from_pylist(rows, schema=table.schema), path / segment.table)
    files = {**segment.files, segment.table: hashlib.sha256((path / segment.table).read_bytes()).hexdigest()}
    (path / SEGMENTS).write_bytes(segment_line(replace(segment, files=files)))
    with pytest.raises(RecordingError, match=r"a row names .*, not one of its files"):
        list(Recording(path))


def test_names_in_a_recording_steer_no_terminal(
    tmp_path: Path, make_datum: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recorded(tmp_path / "a.rec", make_datum, world=EVIL, actor=f"[link=http://evil.example]{EVIL}")
    assert main(["recordings", "list", str(path)]) == 0
    assert main(["recordings", "check", str(path)]) == 0
    (path / SEGMENTS).write_bytes(b"\x1b[2J\n" + (path / SEGMENTS).read_bytes())
    assert main(["recordings", "check", str(path)]) == 1
    said = capsys.readouterr()
    assert "owned" in said.out
    assert "\x1b]0;" not in said.out + said.err
    assert not [line for line in said.out.splitlines() if line.startswith("engram: all is well")]


@pytest.mark.parametrize("name", ["../../outside", "/outside", "..", ".", "a/b", "a\\b", "-rf", "a\nb"])
def test_a_stream_names_no_folder_of_an_edge_actor(
    store: EmbeddedStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("ENGRAM_REDIS_URL", store.url)
    run = preset("demo")
    with connect(store.url) as client:
        announce_run(client, StreamKeys(name), replace(run, actors=replace(run.actors, edge=1)))
    refused = live(["--stream", "-"] if name == "-rf" else [])
    assert refused == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert [*tmp_path.rglob("*")] == []


@pytest.mark.parametrize(
    "name", ["../events.jsonl", "/tmp/outside", "actor-0", "actor-0.journal/../../x", "evil.sh", "", "actor-0.\n"]
)
def test_what_an_actor_hands_over_stays_among_the_actors(tmp_path: Path, name: str) -> None:
    directory = RunDirectory(tmp_path / "run")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="belongs to no actor"):
        bring_home(directory, {name: b"evil"})
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    bring_home(directory, {"actor-0.journal": b"fine"})
    assert (directory.actors / "actor-0.journal").read_bytes() == b"fine"
    directory.close()


def test_a_checkpoint_names_no_file(tmp_path: Path) -> None:
    arrays = {"w": np.zeros(2, np.float32)}
    made = Checkpoint(
        step=1, model=arrays, optimiser=arrays, replay=arrays, ledger={}, state={"number": 1, "version": 1}
    )
    path = checkpoints.save(made, tmp_path / "checkpoints", keep=1)
    state = json.loads((path / "state.json").read_text())
    for ranks in ("../../outside", [1], "2/../..", 10**6):
        (path / "state.json").write_text(json.dumps({**state, "ranks": ranks}))
        with pytest.raises(CheckpointError, match="cannot be read"):
            checkpoints.load(path)


def test_a_name_with_wildcards_gives_no_rights_elsewhere(tmp_path: Path) -> None:
    """Names of runs become patterns of rights; spaces become any one character, since no rule may hold any."""
    names = ("x*", "x?y", "[a-z]", "x\\*", "a b", "{x}", "x ~* +@all")
    with own_server(tmp_path / "server") as url, connect(url) as client:
        for name in names:
            access = Access(url, name, ["actor-0", "learner", "viewer"])
            assert access.shared == ""
            keys, other = StreamKeys(name), StreamKeys(f"{name}z")
            cast(Any, client).xadd(keys.frames("actor-0"), {"v": "1"})
            for stream in (other, StreamKeys("xzy"), StreamKeys("q")):
                cast(Any, client).xadd(stream.frames("actor-0"), {"v": "1"})
            with connect(access.url("actor-0")) as actor, connect(access.url("viewer")) as viewer:
                assert cast(Any, actor).xlen(keys.frames("actor-0")) == 1
                assert cast(Any, viewer).xlen(keys.frames("actor-0")) == 1
                for stream in (other, StreamKeys("xzy"), StreamKeys("q")):
                    for part in (actor, viewer):
                        with pytest.raises(NoPermissionError):
                            cast(Any, part).xlen(stream.frames("actor-0"))
            cast(Any, client).flushall()
            access.revoke()
        assert cast(Any, client).acl_users() == ["default"]
