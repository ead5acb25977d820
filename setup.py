"""Packages the tool: three plain packages and the assets they use."""

from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent

setup(
    name="clouds-segmentation",
    version="0.1.0",
    description="Foundation models together make a segmenter that works where no label was ever seen.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=[
        "assets",
        "assets.prompts",
        "clouds",
        "clouds.commands",
        "clouds.data",
        "clouds.data.published",
        "clouds.data.world",
        "clouds.engine",
        "clouds.export",
        "clouds.export.models",
        "clouds.models",
        "clouds.ops",
        "clouds.pretraining",
        "clouds.report",
        "clouds.scoring",
        "clouds.training",
        "configs",
        "pipelines",
    ],
    package_data={
        "assets": ["**/*"],
        "assets.prompts": ["*.txt", "*.yaml"],
        "clouds": ["py.typed"],
        "clouds.report": ["assets/*"],
        "configs": ["*.yaml"],
    },
    install_requires=(HERE / "requirements.txt").read_text(encoding="utf-8").split(),
    extras_require={
        # what the writers of single formats need: parquet, coco-rle
        "export": ["pyarrow>=15", "pycocotools>=2.0.8"],
        # segmenters as ONNX graphs, and their comparison with what they came from
        "onnx": ["onnx>=1.17", "onnxruntime>=1.20", "onnxscript>=0.5"],
        "tensorboard": ["tensorboard>=2.15"],
        "wandb": ["wandb>=0.17"],
        "test": [
            "cityscapesscripts>=2.2",
            "datasets>=3.0",
            "hypothesis>=6.100",
            "matplotlib>=3.8",
            "mypy>=1.10",
            "onnx>=1.17",
            "onnxruntime>=1.20",
            "onnxscript>=0.5",
            "playwright>=1.49",
            "pyarrow>=15",
            "pycocotools>=2.0.8",
            "pytest>=8.0",
            "pytest-cov>=5.0",
            "pytest-xdist>=3.5",
            "ruff>=0.9",
            "tensorboard>=2.15",
            "torchmetrics>=1.4",
            "types-PyYAML",
            "webdataset>=0.2.100",
        ],
    },
    entry_points={"console_scripts": ["clouds = clouds.cli:main"]},
)
