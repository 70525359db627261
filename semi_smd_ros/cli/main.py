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

    Examples: semi-smd demo
              semi-smd demo --scene /data/ddad/000150 --out /tmp/result
              semi-smd demo --scene drive.mcap
    """
    from rich.console import Console

    from .demo.run import run_demo

    run_demo(scene or shipped_recording(), out, model, base_frame, Console())


@app.command()
def record(
    source: Annotated[str, typer.Argument(help='ddad:PATH or synthetic:SEED')],
    out: Annotated[Path, typer.Argument(help='folder of the rosbag2 to write; must not exist')],
    sets: Annotated[int, typer.Option(min=1, help='synthetic: how many sets to render')] = 24,
    rate: Annotated[float, typer.Option(min=0.1, help='synthetic: sets per second')] = 10.0,
    width: Annotated[int, typer.Option(min=64, help='synthetic: image width')] = 640,
    height: Annotated[int, typer.Option(min=48, help='synthetic: image height')] = 400,
) -> None:
    """Write a rosbag2 (mcap) as a vehicle would: compressed images, camera_info, tf, ground truth.

    Examples: semi-smd record ddad:/data/ddad/000150 drive
              semi-smd record synthetic:7 street --sets 24
    """
    from .record import record_source

    count = record_source(source, out, sets=sets, rate_hz=rate, width=width, height=height)
    typer.echo(f'{count} sets written to {out}')


@app.command(context_settings={'allow_extra_args': True, 'ignore_unknown_options': True}, add_help_option=False)
def train(context: typer.Context) -> None:
    """Train the network on the synthetic world (semi-smd train --help)."""
    from ..training.train import main as train_main

    raise typer.Exit(train_main(context.args))


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
