# SPDX-License-Identifier: Apache-2.0
"""The package for colcon (ament_python) and for pip."""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

NAME = 'semi_smd_ros'
HERE = Path(__file__).parent
SHARE = Path('share') / NAME


def share_files(*patterns: str) -> list[tuple[str, list[str]]]:
    """(folder below the prefix, files) for every file that matches, each beside its place in the source tree."""
    by_folder: dict[str, list[str]] = {}
    for pattern in patterns:
        for path in sorted(HERE.glob(pattern)):
            relative = path.relative_to(HERE)
            by_folder.setdefault(str(SHARE / relative.parent), []).append(str(relative))
    return list(by_folder.items())


# What the vehicle needs from pip; ROS itself comes from apt there (package.xml), or from wheels (the extra ros).
ROS_WHEELS = [
    'ros-rclpy[fastrtps]',
    'ros-diagnostic-msgs',
    'ros-geometry-msgs',
    'ros-lifecycle-msgs',
    'ros-nav-msgs',
    'ros-rcl-interfaces',
    'ros-sensor-msgs',
    'ros-std-msgs',
    'ros-std-srvs',
]
RUNTIME = ['onnxruntime', 'opencv-python-headless<5']
DEMO = [*RUNTIME, *ROS_WHEELS, 'rich', 'rosbags', 'typer']
TRAIN = [
    'lightning-fabric',
    'onnx',
    'onnxscript',
    'opencv-python-headless<5',
    'rich',
    'safetensors',
    'tensorboard',
    'torch',
    'typer',
]
TEACHERS = ['onnxruntime', 'safetensors', 'scipy', 'torch', 'transformers']
CHECKS = [
    'hypothesis',
    'import-linter',
    'mypy',
    'nvidia-cuda-nvrtc',
    'pillow',
    'pytest',
    'ruff',
    'tensorrt-rtx',
    'types-PyYAML',
]

setup(
    name=NAME,
    version='0.1.0',
    description='Metric depth from surrounding cameras as a real-time ROS 2 node (Semi-SMD)',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    maintainer='The semi_smd_ros founders',
    maintainer_email='maintainers@example.org',
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    package_data={f'{NAME}.runtime.cuda': ['*.cu', '*.h'], f'{NAME}.runtime.engine': ['*.npz']},
    python_requires='>=3.10',
    install_requires=['setuptools', 'numpy', 'PyYAML'],
    extras_require={
        'demo': DEMO,
        'train': TRAIN,
        'gpu': ['onnx', 'onnxruntime', 'pycuda', 'tensorrt'],
        'teachers': [*TRAIN, *TEACHERS, 'rosbags'],
        'viz': ['opencv-python-headless<5', 'rich', 'rosbags', 'typer'],
        'test': [*DEMO, *TRAIN, *TEACHERS, *CHECKS],
    },
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (str(SHARE), ['package.xml']),
        *share_files(
            'launch/*.launch.py',
            'config/*.yaml',
            'config/*.xml',
            'config/rigs/*.yaml',
            'config/rviz/*.rviz',
            'configs/*.yaml',
            'models/*.onnx',
            'models/*.sha256',
            'models/*.md',
        ),
    ],
    zip_safe=True,
    entry_points={
        'console_scripts': [
            'surround_depth_node = semi_smd_ros.nodes.surround_depth_node:main',
            'semi-smd = semi_smd_ros.cli.main:main',
        ]
    },
)
