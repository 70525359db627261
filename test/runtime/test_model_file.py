# SPDX-License-Identifier: Apache-2.0
"""Metadata read from the bytes of an ONNX file, against what the package onnx reads."""

from __future__ import annotations

import random
from pathlib import Path

import onnx
import pytest

from semi_smd_ros.runtime import ModelError
from semi_smd_ros.runtime.engine.model_file import onnx_metadata

MODELS = sorted((Path(__file__).parents[2] / 'models').glob('*.onnx'))


@pytest.mark.parametrize('path', MODELS, ids=lambda path: path.stem)
def test_it_is_what_onnx_reads(path: Path) -> None:
    props = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
    assert onnx_metadata(path.read_bytes(), str(path)) == props['semi_smd_ros']


def test_an_entry_among_others_is_found_and_a_missing_one_is_none(tiny_model: Path) -> None:
    model = onnx.load(tiny_model)
    del model.metadata_props[:]
    assert onnx_metadata(model.SerializeToString(), 'tiny') is None
    assert onnx_metadata(b'', 'empty') is None
    onnx.helper.set_model_props(model, {'a': 'one', 'semi_smd_ros': 'zwölf ' * 100, 'z': ''})
    data = model.SerializeToString()
    assert onnx_metadata(data, 'tiny') == 'zwölf ' * 100
    assert onnx_metadata(data, 'tiny', key='z') == ''
    assert onnx_metadata(data, 'tiny', key='b') is None


@pytest.mark.parametrize(
    'data', [b'<html>not found</html>', b'\xff' * 40, b'\x72\x05\x0a\x02\xff\xfe\x0a', b'\x3a\x7f']
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match=rf'odd.onnx \({len(data)} bytes\) is not an ONNX file'):
        onnx_metadata(data, 'odd.onnx')


def test_any_bytes_end_in_an_answer_or_a_refusal(tiny_model: Path) -> None:
    data, rng = tiny_model.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(2000):
        mutated = bytearray(data[: rng.randrange(1, len(data))])
        for _ in range(rng.randrange(8)):
            mutated[rng.randrange(len(mutated))] = rng.randrange(256)
        try:
            onnx_metadata(bytes(mutated), 'mutated')
        except ModelError:
            refused += 1
    assert 1000 < refused < 2000
