# SPDX-License-Identifier: Apache-2.0
"""Make the file of sample frames by which engines are judged when they are built, from any source.

python tools/make_sample_frames.py rosbag:demo/synthetic_street semi_smd_ros/runtime/engine/sample_frames.npz
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

from semi_smd_ros.datasets.sources import open_source
from semi_smd_ros.runtime import SurroundFrame
from semi_smd_ros.runtime.engine.samples import write_samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', help='ddad:PATH, nuscenes:PATH, rosbag:PATH or synthetic:SEED')
    parser.add_argument('output', type=Path, help='the .npz file to write')
    parser.add_argument('--first', type=int, default=8, help='index of the first moment')
    parser.add_argument('--moments', type=int, default=2, help='how many consecutive moments')
    parser.add_argument('--size', type=int, nargs=2, default=(640, 352), metavar=('WIDTH', 'HEIGHT'))
    arguments = parser.parse_args()
    with open_source(arguments.source) as source:
        samples = list(islice(source.sequences()[0], arguments.first, arguments.first + arguments.moments))
    frames = [
        SurroundFrame(
            samples[0].rig,
            tuple(image.camera_image(stamp) for image, stamp in zip(sample.images, sample.stamps_ns, strict=True)),
            sample.stamp_ns,
        )
        for sample in samples
    ]
    write_samples(arguments.output, frames, *arguments.size)


if __name__ == '__main__':
    main()
