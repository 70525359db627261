# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from network_fixtures import TINY, rig_input, run, seeded_network
from torch import Tensor

from semi_smd_ros.network.edges import Edges
from semi_smd_ros.network.heads import TAPS
from semi_smd_ros.network.model import SemiSmdNetwork

WIDTH_AT_2 = 3


@pytest.mark.parametrize('sees_images', [True, False])
def test_it_changes_nothing_before_training(sees_images: bool) -> None:
    torch.manual_seed(0)
    fresh = SemiSmdNetwork(replace(TINY, sees_images=sees_images)).eval()
    without = SemiSmdNetwork(replace(fresh.config, edge_width=0)).eval()
    without.load_state_dict({n: v for n, v in fresh.state_dict().items() if not n.startswith('edges.')})
    inputs = rig_input(fresh, 3)
    one, other = run(fresh, inputs), run(without, inputs)
    for name in ('log_depth_bnhw', 'sky_logit_bnhw', 'log_error_bnhw'):
        assert torch.equal(getattr(one, name), getattr(other, name))


def test_it_decides_nothing_but_the_dense_predictions() -> None:
    network, inputs = seeded_network(config=TINY), rig_input(seeded_network(config=TINY), 3)
    taught = run(network, inputs)
    with torch.no_grad():
        network.edges.mixture.weight.zero_()
        network.edges.dense.weight.zero_()
    dull = run(network, inputs)
    assert not torch.equal(taught.log_depth_bnhw, dull.log_depth_bnhw)
    for name in ('memory_bnchw', 'ground_b3', 'ego_motion_b44', 'semantic_logit_bnkhw'):
        assert torch.equal(getattr(taught, name), getattr(dull, name))


def test_every_pixel_gets_what_its_cell_of_stride_2_says() -> None:
    torch.manual_seed(0)
    edges = Edges(TINY, WIDTH_AT_2).eval()
    for layer in (edges.mixture, edges.dense):
        layer.reset_parameters()
    feature, at_2 = torch.randn(2, TINY.decoder_widths[1], 4, 6), torch.randn(2, WIDTH_AT_2, 8, 12)
    said: dict[str, Tensor] = {}
    for name in ('mixture', 'dense'):
        getattr(edges, name).register_forward_hook(lambda m, i, out, name=name: said.__setitem__(name, out))
    with torch.no_grad():
        sharper = edges(feature, at_2)
    for y, x in ((0, 0), (5, 2), (7, 13), (15, 23)):
        pixel = 2 * (y % 2) + x % 2
        for channel in range(4):
            told = said['dense'][:, 4 * channel + pixel, y // 2, x // 2]
            assert torch.equal(sharper.dense_mchw[:, channel, y, x], told)
        for tap in range(TAPS):
            told = said['mixture'][:, 4 * tap + pixel, y // 2, x // 2]
            place = 16 * tap + 4 * (y % 4) + x % 4
            assert torch.equal(sharper.mixture_mkhw[:, place, y // 4, x // 4], told)
