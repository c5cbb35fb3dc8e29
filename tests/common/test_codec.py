import numpy as np
import pytest
import simplejpeg

from common.codec import Codec, frame_shape, pack_data, unpack_data
from common.errors import WireError


def smooth(height: int = 48, width: int = 64) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 2, columns * 3, rows + columns], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (7, 13), (48, 64), (144, 256)])
def test_raw_frames_arrive_bit_for_bit(size: tuple[int, int]) -> None:
    frame = smooth(*size)
    assert np.array_equal(unpack_data(*pack_data(frame, Codec.RAW, 95)), frame)  # pyright: ignore[reportArgumentType]


def test_jpeg_is_smaller_and_close_and_quality_counts() -> None:
    frame = smooth()
    sizes: list[int] = []
    errors: list[float] = []
    for quality in (30, 95):
        codec, shape, packed = pack_data(frame, Codec.JPEG, quality)
        arrived = np.asarray(unpack_data(codec, shape, packed))
        assert arrived.shape == frame.shape
        sizes.append(len(packed))
        errors.append(float(np.abs(arrived.astype(int) - frame).mean()))
    assert sizes[0] < sizes[1] < frame.nbytes / 3
    assert errors[1] < errors[0]
    assert errors[1] < 2


def test_a_view_that_is_not_contiguous_arrives_as_it_looks() -> None:
    frame = smooth()[::2, ::-1]
    for codec in (Codec.RAW, Codec.TENSORS):
        assert np.array_equal(np.asarray(unpack_data(*pack_data(frame, codec, 95))), frame)


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i8", "u1", "bool"])
def test_arrays_of_any_number_type_arrive(dtype: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    arrived = unpack_data(*pack_data(array, Codec.RAW, 95))
    assert isinstance(arrived, np.ndarray)
    assert arrived.dtype == array.dtype
    assert np.array_equal(arrived, array)


def test_arrays_by_name_arrive_and_are_no_frame() -> None:
    named = {"pixels": smooth(), "reward": np.array(0.5, np.float32)}
    codec, shape, packed = pack_data(named, Codec.JPEG, 95)
    assert (codec, shape) == (Codec.TENSORS, b"2")
    arrived = unpack_data(codec, shape, packed)
    assert isinstance(arrived, dict)
    assert np.array_equal(arrived["pixels"], named["pixels"])
    assert arrived["reward"] == np.float32(0.5)
    assert frame_shape(arrived) is None


@pytest.mark.parametrize("data", [np.array(["a"]), np.array([object()]), {"": np.zeros(1), "b": np.zeros(1)}])
def test_what_has_no_codec_is_refused(data: object) -> None:
    with pytest.raises(WireError, match="data:"):
        pack_data(data, Codec.RAW, 95)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("codec", "shape", "packed"),
    [
        ("raw", b"2,2,3", b"x" * 11),
        ("raw", b"2,2,4", b"x" * 16),
        ("raw", b"0,2,3", b""),
        ("jpeg", b"48,64,3", b"no picture"),
        ("jpeg", b"64,48,3", simplejpeg.encode_jpeg(smooth())),
        ("jpeg", b"48,64,3", simplejpeg.encode_jpeg(smooth())[:200]),
        ("tensors", b"1", b"\xff" * 64),
        ("tensors", b"x", b""),
        ("tensors", b"2", pack_data(np.zeros(3), Codec.TENSORS, 95)[2]),
        ("pickle", b"1", b""),
    ],
)
def test_bytes_that_do_not_agree_are_refused(codec: str, shape: bytes, packed: bytes) -> None:
    with pytest.raises(WireError):
        unpack_data(codec, shape, packed)
