"""The article's problem: recurrent layers that classify images, each seen as a sequence."""

from __future__ import annotations

import functools
import importlib
import math
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gradclip_cli.arrays import Weights
from gradclip_cli.config.article import ArticleConfig
from gradclip_cli.config.schema import Config
from gradclip_cli.problems import idx_files
from gradclip_cli.problems.article_weights import initial_weights
from gradclip_cli.problems.contract import Chance, Dataset, DownloadProgress

ONLY_FOR_WEIGHTS = {"recurrent_gain", "forget_bias", "perturbation"}
"""Keys of the model that say how its weights begin, and nothing else."""
NOISE_TRAINED, NOISE_TESTED = 5_000, 1_000


@dataclass(frozen=True)
class ArticleProblem:
    """`gradclip_cli.problems.contract.Problem` of the article, as a config varies it."""

    config: ArticleConfig

    @functools.cached_property
    def variables(self) -> tuple[str, ...]:
        return tuple(self.initial_weights(0))

    @property
    def chance(self) -> Chance:
        """Of a guess that gives each class its share of the training images."""
        loss, shares = self.config.loss, self.config.data.published.class_shares
        if loss.name == "crossentropy":
            return Chance(math.fsum(share * math.log(1 / share) for share in shares), max(shares))
        return Chance(statistics.mean([loss.target_scale**2 * share * (1 - share) for share in shares]), max(shares))

    @property
    def evaluation_samples(self) -> int:
        return self.config.data.holdout or self.config.data.part.test

    @property
    def loaded_from(self) -> str:
        return self.config.data.model_dump_json(include={"dataset", "subset", "holdout"})

    @property
    def compiled_for(self) -> str:
        others = {"data": {"shuffle_buffer"}, "model": ONLY_FOR_WEIGHTS}
        return self.config.model_dump_json(include=set(others), exclude=others)

    @property
    def timed_as(self) -> str:
        data = self.config.data.model_dump_json(include={"dataset", "sequence", "pool", "batch_size"})
        return data + self.config.model.model_dump_json(exclude=ONLY_FOR_WEIGHTS)

    @property
    def runs_own_code(self) -> bool:
        return False

    @property
    def data_from_function(self) -> bool:
        return False

    def on_a_sample(self) -> ArticleProblem:
        has_sample = self.config.data.published.sample is not None
        few = self.config.data.model_copy(update={"subset": "sample" if has_sample else "full", "holdout": 0})
        return (ArticleProblem if has_sample else OnNoise)(self.config.model_copy(update={"data": few}))

    def find(self, data_directory: Path | None, progress: DownloadProgress | None) -> Path | None:
        if self.config.data.subset == "sample":
            return data_directory
        return idx_files.locate(self.config.data.dataset, data_directory, progress=progress).folder

    def load(self, data_directory: Path | None = None, progress: DownloadProgress | None = None) -> Dataset:
        return idx_files.load(self.config.data, data_directory, progress)

    def initial_weights(self, seed: int) -> Weights:
        features, classes = self.config.data.sequence_shape[1], self.config.data.published.classes
        return initial_weights(self.config.model, features=features, classes=classes, seed=seed)

    def network(self, framework: str, dataset: Dataset) -> Any:
        return importlib.import_module(f"{__name__}_{framework}").Network(self.config, asdict(self.chance))


def article_problem(config: Config) -> ArticleProblem:
    """The problem of a config of the article's kind."""
    assert isinstance(config, ArticleConfig)
    return ArticleProblem(config)


@dataclass(frozen=True)
class OnNoise(ArticleProblem):
    """The same on a few images of noise, to time a step on where a dataset has no sample."""

    @property
    def evaluation_samples(self) -> int:
        return NOISE_TESTED

    def find(self, data_directory: Path | None, progress: DownloadProgress | None) -> Path | None:
        return data_directory

    def load(self, data_directory: Path | None = None, progress: DownloadProgress | None = None) -> Dataset:
        generator, published = np.random.default_rng(0), self.config.data.published
        images = generator.integers(256, size=(NOISE_TRAINED + NOISE_TESTED, published.side, published.side), dtype=np.uint8)
        labels = generator.integers(published.classes, size=len(images), dtype=np.uint8)
        trained, tested = slice(None, NOISE_TRAINED), slice(NOISE_TRAINED, None)
        return Dataset(images[trained], labels[trained], images[tested], labels[tested], "test", "")
