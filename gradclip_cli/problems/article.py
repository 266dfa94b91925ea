"""The article's problem: recurrent layers that classify Fashion-MNIST's images, each seen as a sequence."""

from __future__ import annotations

import functools
import importlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradclip_cli.arrays import Weights
from gradclip_cli.config.schema import Config
from gradclip_cli.problems import fashion_mnist
from gradclip_cli.problems.article_weights import initial_weights
from gradclip_cli.problems.contract import Chance, Dataset, DownloadProgress
from gradclip_cli.problems.fashion_mnist import CLASSES, TEST_IMAGES

ONLY_FOR_WEIGHTS = {"recurrent_gain", "forget_bias", "perturbation"}
"""Keys of the model that say how its weights begin, and nothing else."""


@dataclass(frozen=True)
class ArticleProblem:
    """`gradclip_cli.problems.contract.Problem` of the article, as a config varies it."""

    config: Config

    @functools.cached_property
    def variables(self) -> tuple[str, ...]:
        return tuple(self.initial_weights(0))

    @property
    def chance(self) -> Chance:
        """Fashion-MNIST's classes are equally frequent, so that the best constant prediction favours none."""
        if self.config.loss.name == "crossentropy":
            return Chance(math.log(CLASSES), 1 / CLASSES)
        return Chance(self.config.loss.target_scale**2 * (1 / CLASSES) * (1 - 1 / CLASSES), 1 / CLASSES)

    @property
    def evaluation_samples(self) -> int:
        return self.config.data.holdout or TEST_IMAGES[self.config.data.subset]

    @property
    def loaded_from(self) -> str:
        return self.config.data.model_dump_json(include={"dataset", "subset", "holdout"})

    @property
    def compiled_for(self) -> str:
        others = {"data": {"shuffle_buffer"}, "model": ONLY_FOR_WEIGHTS}
        return self.config.model_dump_json(include=set(others), exclude=others)

    @property
    def timed_as(self) -> str:
        data = self.config.data.model_dump_json(include={"sequence", "pool", "batch_size"})
        return data + self.config.model.model_dump_json(exclude=ONLY_FOR_WEIGHTS)

    def on_a_sample(self) -> ArticleProblem:
        sample = self.config.data.model_copy(update={"subset": "sample", "holdout": 0})
        return ArticleProblem(self.config.model_copy(update={"data": sample}))

    def find(self, data_directory: Path | None, progress: DownloadProgress | None) -> Path | None:
        if self.config.data.subset == "sample":
            return data_directory
        return fashion_mnist.locate(data_directory, progress=progress).folder

    def load(self, data_directory: Path | None = None, progress: DownloadProgress | None = None) -> Dataset:
        return fashion_mnist.load(self.config.data, data_directory, progress)

    def initial_weights(self, seed: int) -> Weights:
        features = self.config.data.sequence_shape[1]
        return initial_weights(self.config.model, features=features, classes=CLASSES, seed=seed)

    def network(self, framework: str) -> Any:
        return importlib.import_module(f"{__name__}_{framework}").Network(self.config)
