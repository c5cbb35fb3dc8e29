import pytest
import torch

from common.config.learner import PayloadDtype
from common.messages import VersionInfo
from common.weights import DTYPES, PayloadKind, StoredVersion, VersionStore, digest, pack, unpack


def info(version: int, *, published: bool = True) -> VersionInfo:
    return VersionInfo(
        version=version, step=version * 10, created_ns=0, system_time=0.0, digest="", published=published
    )


def parameters(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"a.weight": torch.randn(5, 7, generator=generator), "b": torch.randn(3, generator=generator)}


def test_the_hash_is_the_same_before_and_after_the_journey() -> None:
    tensors = parameters()
    module = torch.nn.ParameterDict({"a_weight": torch.zeros(5, 7), "b": torch.zeros(3)})
    arrived = unpack(pack(tensors))
    module.load_state_dict({name.replace(".", "_"): tensor for name, tensor in arrived.items()})
    acting = {name.replace("_", "."): tensor for name, tensor in module.state_dict().items()}
    assert acting["b"].dtype == torch.float32
    assert digest(tensors) == digest(arrived) == digest(acting)


def test_the_hash_sees_every_value_and_name() -> None:
    tensors = parameters()
    changed = {name: tensor.clone() for name, tensor in tensors.items()}
    changed["b"][1] += 0.5
    renamed = {"a.weight": tensors["a.weight"], "c": tensors["b"]}
    assert len({digest(tensors), digest(changed), digest(renamed)}) == 3


def test_integers_and_scalars_keep_their_type() -> None:
    arrived = unpack(pack({"n": torch.tensor(2**40), "x": torch.tensor(1.5)}))
    assert arrived["n"].item() == 2**40
    assert arrived["x"].item() == 1.5


def test_readers_get_the_newest_that_they_may_see_and_nothing_older() -> None:
    store = VersionStore[str](keep=3)
    assert store.newer(0, PayloadKind.ENCODER) is None
    for version in (1, 2, 3):
        kinds = {PayloadKind.ENCODER: f"e{version}", PayloadKind.FULL: f"f{version}"}
        assert store.add(StoredVersion(info(version, published=version != 3), kinds))
    held, published = store.newer(0, PayloadKind.FULL), store.newer(0, PayloadKind.ENCODER)
    assert held is not None
    assert held[1] == "f3"
    assert published is not None
    assert published[1] == "e2"
    assert store.newer(2, PayloadKind.ENCODER) is None
    assert store.newer(3, PayloadKind.FULL) is None


def test_a_registry_that_was_empty_takes_an_older_published_version() -> None:
    store = VersionStore[str]()
    for version, published, kept in ((8, False, True), (5, True, True), (4, True, False)):
        kinds = {PayloadKind.FULL: f"f{version}", PayloadKind.ENCODER: f"e{version}"}
        assert store.add(StoredVersion(info(version, published=published), kinds)) is kept
    assert store.newer(0, PayloadKind.ENCODER) == (info(5), "e5")
    held = store.newer(0, PayloadKind.FULL)
    assert held is not None
    assert held[1] == "f8"


def test_an_old_version_does_not_replace_a_newer_one() -> None:
    store = VersionStore[str]()
    assert store.add(StoredVersion(info(5), {PayloadKind.FULL: "new"}))
    assert not store.add(StoredVersion(info(4), {PayloadKind.FULL: "old"}))
    newest = store.newest
    assert newest is not None
    assert newest.version == 5


def test_only_the_newest_and_the_newest_published_are_kept() -> None:
    store = VersionStore[str](keep=2)

    def add(version: int, *, published: bool) -> list[int]:
        kinds = {PayloadKind.FULL: f"f{version}", PayloadKind.ENCODER: f"e{version}"}
        assert store.add(StoredVersion(info(version, published=published), kinds))
        return [number for number in range(version + 1) if store.version(number, PayloadKind.FULL)]

    assert [add(version, published=version <= 2) for version in (1, 2, 3)][-1] == [2, 3]
    for version in range(4, 10):
        assert add(version, published=False) == [2, version - 1, version]
        assert store.newer(0, PayloadKind.ENCODER) == (info(2), "e2")
    held = store.newer(0, PayloadKind.FULL)
    assert held is not None
    assert held[1] == "f9"
    assert add(10, published=True) == [9, 10]
    assert store.newer(0, PayloadKind.ENCODER) == (info(10), "e10")


def test_the_hash_honours_the_dtype_that_was_sent() -> None:
    tensors = parameters()
    arrived = unpack(memoryview(pack(tensors, torch.float32)))
    assert torch.equal(arrived["b"], tensors["b"])
    assert digest(tensors, torch.float32) == digest(arrived, torch.float32) != digest(tensors)


@pytest.mark.parametrize("name", PayloadDtype)
def test_every_dtype_of_the_config_travels(name: PayloadDtype) -> None:
    tensors, dtype = parameters(), DTYPES[name]
    arrived = unpack(pack(tensors, dtype))
    assert all(arrived[key].equal(tensor.to(dtype)) for key, tensor in tensors.items())
    assert digest(arrived, dtype) == digest(tensors, dtype)


def test_what_arrived_outlives_its_source() -> None:
    tensors = parameters()
    source = bytearray(pack(tensors, torch.float32))
    arrived = unpack(memoryview(source))
    source[:] = bytes(len(source))
    assert arrived["b"].equal(tensors["b"])


def test_a_named_version_is_found_while_it_is_kept() -> None:
    store = VersionStore[str](keep=2)
    for version in (1, 2, 3):
        kinds = {PayloadKind.FULL: f"f{version}", PayloadKind.ENCODER: f"e{version}"}
        store.add(StoredVersion(info(version, published=version != 2), kinds))
    assert store.version(1, PayloadKind.FULL) is None, "3 is the newest published one"
    assert store.version(2, PayloadKind.ENCODER) is None
    assert store.version(2, PayloadKind.FULL) == (info(2, published=False), "f2")
