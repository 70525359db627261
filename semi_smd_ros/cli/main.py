# SPDX-License-Identifier: Apache-2.0
"""The command line `semi-smd`. Every command imports what it needs when it is called."""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path
from typing import Annotated

try:
    import typer
except ModuleNotFoundError as missing:
    # A vehicle runs the node without it; the command line is an extra.
    raise SystemExit("semi-smd needs typer: python3 -m pip install 'typer' 'rich' 'rosbags'") from missing

app = typer.Typer(
    help='Metric depth from surrounding cameras.', no_args_is_help=True, add_completion=False, rich_markup_mode=None
)


@app.command()
def demo(
    scene: Annotated[
        Path | None, typer.Option(help='DGP scene or rosbag2; without, the recording that ships with the package')
    ] = None,
    out: Annotated[Path | None, typer.Option(help='result folder; without, out/<time> and the link out/latest')] = None,
    model: Annotated[str, typer.Option(help='ONNX model; without, the shipped one')] = '',
    base_frame: Annotated[str, typer.Option(help="frame of the vehicle in the recording's tf")] = 'base_link',
) -> None:
    """Play a recording through the node over DDS; pictures, scores and latencies come out.

    \b
    Examples: semi-smd demo
              semi-smd demo --scene /data/ddad/000150 --out /tmp/result
              semi-smd demo --scene drive.mcap
    """
    from rich.console import Console

    from .demo.run import run_demo

    run_demo(scene or shipped_recording(), out, model, base_frame, Console())


@app.command()
def record(
    source: Annotated[str, typer.Argument(help='ddad:PATH, nuscenes:PATH, rosbag:PATH or synthetic:SEED')],
    out: Annotated[Path, typer.Argument(help='rosbag2 to write: one file NAME.mcap, or a folder; must not exist')],
    raw: Annotated[bool, typer.Option('--raw', help='images as sensor_msgs/Image instead of compressed')] = False,
    sequence: Annotated[str, typer.Option(help='only this sequence (scene, drive) of the source')] = '',
    truth: Annotated[str, typer.Option(help='ground truth to write: all, points (no dense maps) or none')] = 'all',
    sets: Annotated[int | None, typer.Option(min=1, help='synthetic: how many sets to render')] = None,
    rate: Annotated[float | None, typer.Option(min=0.1, help='synthetic: sets per second')] = None,
    width: Annotated[int | None, typer.Option(min=64, help='synthetic: image width')] = None,
    height: Annotated[int | None, typer.Option(min=48, help='synthetic: image height')] = None,
) -> None:
    """Write a rosbag2 as a vehicle would: images, camera_info, tf; and the ground truth as extra topics.

    rosbag:PATH reads it back to the same samples. Options of a source follow its path: ddad:PATH?split=val.

    \b
    Examples: semi-smd record ddad:/data/ddad/000150 drive.mcap
              semi-smd record 'nuscenes:/data/nuscenes?split=val' drives --sequence scene-0103 --raw
              semi-smd record synthetic:7 street --sets 24 --truth points
    """
    from .record import record_source

    given = {'sets': sets, 'rate': rate, 'width': width, 'height': height}
    for name, count in record_source(source, out, raw, sequence, truth, **given).items():
        typer.echo(f'{name}: {count} sets written to {out}')


@app.command()
def evaluate(
    data: Annotated[str, typer.Option(help='ddad:PATH, nuscenes:PATH, rosbag:PATH or synthetic:SEED')],
    model: Annotated[str, typer.Option(help='ONNX model; without, the shipped one')] = '',
    protocol: Annotated[str, typer.Option(help='default, surrounddepth or vfdepth')] = 'default',
    limit: Annotated[int | None, typer.Option(min=1, help='only the first so many sets')] = None,
    masks: Annotated[
        bool | None, typer.Option('--masks/--no-masks', help="the source's ego masks; without, as the protocol says")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help='result folder; without, out/evaluate/<time> and the link out/evaluate/latest')
    ] = None,
) -> None:
    """Score a model on a data set, beside flat ground and a blind network: tables, metrics.json, a picture sheet.

    The model runs through the pipeline that the vehicle runs. Protocols: default (metric first, per image, then per
    camera, then over cameras), surrounddepth and vfdepth (as those papers' code has it).

    \b
    Examples: semi-smd evaluate --data ddad:/data/ddad/000150
              semi-smd evaluate --data nuscenes:/data/nuscenes --protocol surrounddepth --model my.onnx
              semi-smd evaluate --data synthetic:0 --limit 8 --out /tmp/scores
    """
    from rich.console import Console

    from .evaluate import run_evaluation

    run_evaluation(data, model, protocol, limit, masks, out, Console())


@app.command()
def synth(
    seed: Annotated[int, typer.Argument(min=0, help='scene, or the first scene of a contact sheet')] = 0,
    preview: Annotated[bool, typer.Option('--preview', help='one contact sheet of varied scenes')] = False,
    out: Annotated[Path | None, typer.Option(help='file or folder to write; without, in out/synth')] = None,
    sets: Annotated[int | None, typer.Option(min=1, help='moments of the drive, or scenes on the sheet')] = None,
    rate: Annotated[float, typer.Option(min=0.1, help='moments a second')] = 10.0,
    width: Annotated[int, typer.Option(min=64, help='image width')] = 320,
    height: Annotated[int, typer.Option(min=48, help='image height')] = 192,
    rig: Annotated[str, typer.Option(help='ddad, nuscenes, random or raw (with lens distortion)')] = '',
    photographs: Annotated[
        Path | None, typer.Option(help='folder of photographs of surfaces: road/, grass/, wall/, ...')
    ] = None,
) -> None:
    """Look at the synthetic world: a contact sheet, or a drive as pictures, depth and semantics.

    \b
    Examples: semi-smd synth --preview
              semi-smd synth 7 --out street --sets 24 --rig nuscenes
    """
    from rich.console import Console

    from .synth import synth as render

    size = {'width': width, 'height': height}
    written = render(seed, out, preview, Console(), sets=sets, rate_hz=rate, rig=rig, photographs=photographs, **size)
    typer.echo(f'written: {written}')


@app.command()
def profile(
    config: Annotated[
        str, typer.Argument(help='small, base or another network; an unknown name shows them all')
    ] = 'small',
    as_json: Annotated[bool, typer.Option('--json', help='print a JSON object instead of a table')] = False,
    threads: Annotated[int, typer.Option(min=1, help="ONNX Runtime's threads")] = 2,
    cameras: Annotated[int, typer.Option(min=1, max=12, help='images in a set')] = 6,
) -> None:
    """What a network costs: parameters, GFLOPs (2 x multiply-adds) and ONNX Runtime time, per part.

    \b
    Examples: semi-smd profile small
              semi-smd profile base --threads 1 --json
    """
    from rich.console import Console

    from ..network.config import CONFIGS
    from .profile import run_profile

    if config not in CONFIGS:
        raise typer.BadParameter(f'{config}: no such network; expected one of {", ".join(CONFIGS)}')
    run_profile(config, cameras, threads, as_json, Console())


@app.command()
def build_engine(
    model: Annotated[str, typer.Argument(help='ONNX model; without, the shipped one')] = '',
    precision: Annotated[str, typer.Option(help='fp16, fp32 or int8')] = 'fp16',
    cameras: Annotated[
        int | None, typer.Option(min=1, max=12, help="images in a set; without, those of --frames' rig, else 6")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help='folder for plans, yours alone; without, ~/.cache/semi_smd_ros/plans')
    ] = None,
    frames: Annotated[
        str, typer.Option(help='source to calibrate INT8 and to judge by; without, frames of the package')
    ] = '',
    sets: Annotated[int, typer.Option(min=2, help='how many sets of --frames')] = 16,
    rebuild: Annotated[bool, typer.Option('--rebuild', help='build even if the cache has it')] = False,
) -> None:
    """Build a TensorRT engine on this GPU, compare it with FP32, and keep it for the node.

    The node does the same when it is first configured; this does it before. FP16 that differs too much is refused.

    \b
    Examples: semi-smd build-engine
              semi-smd build-engine my.onnx --precision fp32 --cameras 5
              semi-smd build-engine --precision int8 --frames rosbag:drive.mcap
    """
    from rich.console import Console

    from .build_engine import run_build

    run_build(model, precision, cameras, cache, frames, sets, rebuild, Console())


@app.command()
def label(
    source: Annotated[str, typer.Argument(help='ddad:PATH, nuscenes:PATH, rosbag:PATH or synthetic:SEED')],
    folder: Annotated[Path, typer.Argument(help='where labels go; goes on with what is there')],
    depth: Annotated[str, typer.Option(help='depth teacher: transformers:FOLDER, onnx:FILE or synthetic:SEED')] = '',
    semantics: Annotated[str, typer.Option(help='semantic teacher, Cityscapes classes: as for depth')] = '',
    limit: Annotated[int | None, typer.Option(min=1, help='only the first so many sets')] = None,
    longest: Annotated[int, typer.Option(min=16, help='longer edge of the labels, pixels; never enlarged')] = 640,
    context: Annotated[bool, typer.Option(help='also the pictures between the sets: sweeps of nuScenes')] = False,
    batch: Annotated[int, typer.Option(min=1, help='pictures a teacher sees at a time')] = 8,
    device: Annotated[str, typer.Option(help='cpu, cuda, cuda:1; without, the GPU where there is one')] = '',
    dtype: Annotated[
        str, typer.Option(help="a transformers teacher's precision: float32, float16, bfloat16")
    ] = 'float32',
) -> None:
    """Cache what teachers say of a source's pictures: relative depth and classes, for training without ground truth.

    Weights come from the disk, as safetensors or ONNX; nothing is downloaded. A run that was ended goes on where it
    stopped. A teacher's options follow its path: transformers:FOLDER?height=518, for semantics also &threshold=0.5
    (less sure pixels are ignored), for depth also &output=disparity or depth. What an ONNX file does not say stands in
    a YAML beside it (docs/teachers.md).

    \b
    Examples: semi-smd label 'ddad:/data/ddad?split=train' labels \\
                --depth transformers:/models/Depth-Anything-V2-Small-hf
              semi-smd label rosbag:drive.mcap labels --depth onnx:/models/metric3d.onnx \\
                --semantics 'transformers:/models/mask2former-swin-tiny-cityscapes-semantic?height=512'
              semi-smd label synthetic:7 labels --depth synthetic:0 --semantics synthetic:0 --limit 4
    """
    from rich.console import Console

    from ..training.teachers import Execution
    from .label import run_labelling

    execution = Execution(batch, device, dtype)
    run_labelling(source, folder, depth, semantics, longest, context, limit, execution, Console())


@app.command(context_settings={'allow_extra_args': True, 'ignore_unknown_options': True}, add_help_option=False)
def train(context: typer.Context) -> None:
    """Train the network on the synthetic world (semi-smd train --help)."""
    from ..training.train import main as train_main

    raise typer.Exit(train_main(context.args))


@app.command(context_settings={'allow_extra_args': True, 'ignore_unknown_options': True}, add_help_option=False)
def ablate(context: typer.Context) -> None:
    """Train and evaluate variants of the method, without ground-truth depth (semi-smd ablate --help)."""
    from ..training.ablate import main as ablate_main

    raise typer.Exit(ablate_main(context.args))


@app.command(context_settings={'allow_extra_args': True, 'ignore_unknown_options': True}, add_help_option=False)
def overfit(context: typer.Context) -> None:
    """Check an installation: learn a few frames by heart and throw the weights away (semi-smd overfit --help)."""
    from ..training.overfit import main as overfit_main

    raise typer.Exit(overfit_main(context.args))


@app.command(context_settings={'allow_extra_args': True, 'ignore_unknown_options': True}, add_help_option=False)
def export(context: typer.Context) -> None:
    """Export a checkpoint to ONNX with the engine contract (semi-smd export --help)."""
    from ..network.export import main as export_main

    raise typer.Exit(export_main(context.args))


def shipped_recording() -> Path:
    """The short synthetic recording in the source tree. Raises FileNotFoundError where it is not installed."""
    path = Path(__file__).resolve().parents[2] / 'demo' / 'synthetic_street'
    if not path.exists():
        raise FileNotFoundError(f'{path}: the demo recording is part of the source tree; name another with --scene')
    return path


def main() -> int:
    """Run the command line; what a user can mend is told in one sentence instead of a traceback."""
    logging.basicConfig(level=logging.WARNING, format='%(levelname)s: %(message)s')
    # Ended by SIGTERM, a demo still stops its processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        from ..datasets.sample import DataError
        from ..rig import RigError, TransformError
        from ..runtime import InputError, ModelError
        from .demo.protocol import DemoError

        try:
            app()
        except (DataError, DemoError, InputError, ModelError, OSError, RigError, TransformError) as error:
            sys.stderr.write(f'semi-smd: {error}\n')
            return 1
    except ModuleNotFoundError as error:
        sys.stderr.write(f"semi-smd: {error}; install what this needs: pip install '.[demo]' (or '.[train]')\n")
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
