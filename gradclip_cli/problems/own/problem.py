"""A problem of the user's own. Posing one runs nothing of his; loading his data and building his model do."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradclip_cli.config.own import OwnConfig
from gradclip_cli.problems.contract import Chance, Dataset, DownloadProgress
from gradclip_cli.problems.own.calls import call, tell_at_once
from gradclip_cli.problems.own.code import load_function
from gradclip_cli.problems.own.references import Reference, absolute
from gradclip_cli.problems.own_arrays import splits


@dataclass(frozen=True)
class OwnProblem:
    """`gradclip_cli.problems.contract.Problem` of a user's own config."""

    config: OwnConfig

    @property
    def variables(self) -> tuple[str, ...]:
        """Unknown until the model is built."""
        return ()

    @property
    def chance(self) -> Chance | None:
        """Unknown until data and model are there: the network tells it."""
        return None

    @property
    def evaluation_samples(self) -> int:
        """Unknown until the data are loaded, but where they are held out."""
        return self.config.data.holdout

    @property
    def loaded_from(self) -> str:
        return self.config.folder + self.config.data.model_dump_json(exclude={"batch_size", "shuffle_buffer"})

    @property
    def compiled_for(self) -> str:
        others = {"data": {"shuffle_buffer"}, "model": {"perturbation"}}
        return self.config.folder + self.config.model_dump_json(include={"data", "model", "loss", "metrics"}, exclude=others)

    @property
    def timed_as(self) -> str:
        return self.compiled_for

    @property
    def runs_own_code(self) -> bool:
        return True

    @property
    def data_from_function(self) -> bool:
        return self.config.data.factory is not None

    def on_a_sample(self) -> OwnProblem:
        return self

    def find(self, data_directory: Path | None, progress: DownloadProgress | None) -> Path | None:
        return data_directory

    def load(self, data_directory: Path | None = None, progress: DownloadProgress | None = None) -> Dataset:
        data, folder = self.config.data, Path(self.config.folder)
        if data.npz:
            arrays = splits.load_npz(absolute(folder / data.npz), holdout=data.holdout, tell=tell_at_once)
        else:
            reference = Reference.parse(str(data.factory), "data.factory")
            value = call(load_function(reference, folder, tell_at_once), data.args, str(reference))
            arrays = splits.from_factory(value, holdout=data.holdout, what=str(reference))
        train, evaluation = arrays.train, arrays.evaluation
        parts = (train.inputs, train.targets, evaluation.inputs, evaluation.targets)
        return Dataset(*parts, arrays.evaluation_split, arrays.sha256, arrays.remarks)

    def network(self, framework: str, dataset: Dataset) -> Any:
        return importlib.import_module(f"{__package__}.{framework}").Network(self.config, dataset)
