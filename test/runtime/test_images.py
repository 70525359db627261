# SPDX-License-Identifier: Apache-2.0
"""Image messages as arrays: every encoding gives the same picture, every broken message the reason."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semi_smd_ros.runtime import SUPPORTED_ENCODINGS, InputError, decode_compressed, decode_raw
from semi_smd_ros.runtime.images import to_network_size

HEIGHT, WIDTH = 24, 32


def smooth_rgb() -> np.ndarray:
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([40 + 4 * u, 60 + 5 * v, 200 - 3 * u], axis=-1).astype(np.uint8)


def as_encoding(rgb: np.ndarray, encoding: str) -> np.ndarray:
    """The bytes that a driver would send, (rows, bytes)."""
    if encoding.startswith('bayer'):
        pattern = encoding[6:10]
        mosaic = np.empty((HEIGHT, WIDTH), np.uint8)
        for i, channel in enumerate(pattern):
            mosaic[i // 2 :: 2, i % 2 :: 2] = rgb[i // 2 :: 2, i % 2 :: 2, 'rgb'.index(channel)]
        return mosaic
    if encoding in ('mono8', '8UC1', 'mono16', '16UC1'):
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        return grey if encoding in ('mono8', '8UC1') else (grey.astype('<u2') << 8).view(np.uint8)
    if encoding in ('yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv', 'nv12', 'nv21'):
        yuv = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
        luma = yuv[:HEIGHT]
        u, v = (plane.reshape(HEIGHT // 2, WIDTH // 2) for plane in np.split(yuv[HEIGHT:].reshape(-1), 2))
        if encoding.startswith('nv'):
            pair = (u, v) if encoding == 'nv12' else (v, u)
            return np.vstack([luma, np.stack(pair, -1).reshape(HEIGHT // 2, WIDTH)])
        packed = np.empty((HEIGHT, WIDTH // 2, 4), np.uint8)
        order = 'uyvy' if encoding in ('yuv422', 'uyvy') else 'yuyv'
        packed[..., [i for i, c in enumerate(order) if c == 'y']] = luma.reshape(HEIGHT, WIDTH // 2, 2)
        packed[..., order.index('u')] = np.repeat(u, 2, axis=0)
        packed[..., order.index('v')] = np.repeat(v, 2, axis=0)
        return packed.reshape(HEIGHT, -1)
    channels = {'r': 0, 'g': 1, 'b': 2}
    names = 'bgr' if encoding in ('bgr8', '8UC3') else 'bgra' if encoding in ('bgra8', '8UC4') else encoding[:-1]
    full = np.dstack([rgb, np.full((HEIGHT, WIDTH), 255, np.uint8)])
    return full[..., [channels.get(name, 3) for name in names]].reshape(HEIGHT, -1)


@pytest.mark.parametrize('encoding', sorted(SUPPORTED_ENCODINGS))
@pytest.mark.parametrize('padding', [0, 6])
def test_every_encoding_gives_the_same_picture(encoding: str, padding: int) -> None:
    rgb = smooth_rgb()
    rows = as_encoding(rgb, encoding)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    image = decode_raw(padded.tobytes(), HEIGHT, WIDTH, padded.shape[1], encoding, 5)
    assert image.size == (WIDTH, HEIGHT)
    got = to_network_size(image, lambda pixels: pixels)
    expected = rgb
    if 'mono' in encoding or encoding.endswith('C1'):
        expected = np.repeat(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    subsampled = encoding.startswith(('bayer', 'yuv', 'uyvy', 'yuyv', 'nv'))
    # Demosaicking and shared chroma blur; a swapped channel or pattern would be off by tens.
    assert np.abs(got.astype(int) - expected)[2:-2, 2:-2].max() <= (9 if subsampled else 0)


def test_a_raw_image_is_a_view() -> None:
    data = bytearray(smooth_rgb().tobytes())
    image = decode_raw(data, HEIGHT, WIDTH, WIDTH * 3, 'rgb8', 0)
    data[0] = 211
    assert image.pixels[0, 0, 0] == 211


def test_big_endian_words() -> None:
    grey = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH)
    image = decode_raw(grey.astype('>u2').tobytes(), HEIGHT, WIDTH, WIDTH * 2, 'mono16', 0, is_bigendian=True)
    np.testing.assert_array_equal(image.pixels, grey)


@pytest.mark.parametrize('step', [WIDTH * 2, WIDTH * 2 + 3])
def test_big_endian_words_survive_the_remap(step: int) -> None:
    grey = (np.arange(HEIGHT * WIDTH, dtype=np.uint16) * 71).reshape(HEIGHT, WIDTH)

    def small(order: str) -> np.ndarray:
        rows = np.pad(grey.astype(f'{order}u2').view(np.uint8), ((0, 0), (0, step - WIDTH * 2)))
        image = decode_raw(rows.tobytes(), HEIGHT, WIDTH, step, 'mono16', 0, is_bigendian=order == '>')
        return to_network_size(image, lambda pixels: cv2.resize(pixels, (8, 6)))

    np.testing.assert_array_equal(small('>'), small('<'))


def test_a_note_on_how_to_hold_the_picture_does_not_turn_it() -> None:
    jpeg = cv2.imencode('.jpg', np.zeros((40, 80, 3), np.uint8))[1].tobytes()
    # An APP1 segment with one EXIF entry: orientation (0x0112) = 6, to be turned by a quarter.
    tiff = b'MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00'
    segment = b'Exif\x00\x00' + tiff
    turned = jpeg[:2] + b'\xff\xe1' + (len(segment) + 2).to_bytes(2, 'big') + segment + jpeg[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape[:2] == (80, 40)
    assert decode_compressed(turned, 'jpeg', 0).size == (80, 40)


@pytest.mark.parametrize(
    ('changes', 'reason', 'says'),
    [
        ({'encoding': 'rgb48'}, 'encoding', "'rgb48' is not supported; expected one of .*bgr8"),
        ({'step': 31}, 'step', 'step is 31; expected 96 bytes or more'),
        ({'height': 25}, 'length', 'data has 2304 bytes; expected 2400'),
        ({'height': 0}, 'size', '32x0'),
        ({'encoding': 'nv12', 'height': 23, 'step': 32}, 'size', 'even'),
        ({'encoding': 'yuyv', 'width': 31}, 'size', 'even number'),
    ],
)
def test_a_broken_message_is_refused(changes: dict[str, object], reason: str, says: str) -> None:
    good = {'height': HEIGHT, 'width': WIDTH, 'step': WIDTH * 3, 'encoding': 'rgb8', 'stamp_ns': 0}
    with pytest.raises(InputError, match=says) as caught:
        decode_raw(smooth_rgb().tobytes(), **{**good, **changes})  # type: ignore[arg-type]
    assert caught.value.reason == reason


@pytest.mark.parametrize('reduction', [2, 4])
def test_only_a_jpeg_whose_size_it_divides_is_decoded_smaller(reduction: int) -> None:
    rgb = cv2.resize(smooth_rgb(), (80, 48))
    for kind, size, expected in (('jpg', (80, 48), reduction), ('png', (80, 48), 1), ('jpg', (79, 48), 1),
                                 ('jpg', (80, 47), 1)):  # fmt: skip
        data = cv2.imencode(f'.{kind}', cv2.resize(rgb, size), [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
        image = decode_compressed(data, kind, 7, reduction)
        assert image.reduction == expected
        assert image.size == size
        assert image.pixels.shape == (size[1] // expected, size[0] // expected, 3)
        full = decode_compressed(data, kind, 7).pixels
        ideal = cv2.resize(full, image.pixels.shape[1::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(image.pixels.astype(int) - ideal).mean() < 1.5


def test_compressed() -> None:
    done, png = cv2.imencode('.png', smooth_rgb()[..., ::-1])
    assert done
    image = decode_compressed(png.tobytes(), 'png', 3)
    np.testing.assert_array_equal(to_network_size(image, lambda pixels: pixels), smooth_rgb())
    for broken in (b'', b'not a picture', png.tobytes()[:40]):
        with pytest.raises(InputError, match='could not be decoded') as caught:
            decode_compressed(broken, 'png', 0)
        assert caught.value.reason == 'compressed'


@given(
    data=st.binary(max_size=200),
    height=st.integers(-2, 12),
    width=st.integers(-2, 12),
    step=st.integers(-2, 60),
    encoding=st.sampled_from([*sorted(SUPPORTED_ENCODINGS), 'x']),
)
def test_whatever_comes_is_an_image_or_a_reason(data: bytes, height: int, width: int, step: int, encoding: str) -> None:
    try:
        image = decode_raw(data, height, width, step, encoding, 0)
    except InputError:
        return
    assert image.size == (width, height)
    assert image.pixels.sum() >= 0  # every byte that the view names can be read
