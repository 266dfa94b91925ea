"""run.json as it is read: input of unknown origin, checked. Apart from what is known of it, as pydantic is slow to import."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gradclip_cli.errors import StoreError
from gradclip_cli.files import Readable, read_json
from gradclip_cli.limits import MOST_EPOCHS, MOST_SEED, MOST_STEPS
from gradclip_cli.runs.metadata import FINISHED, RUN_SCHEMA, Status


class _Stored(BaseModel):
    """A part of `run.json`: what is known must have its type; what a newer or older run says besides is left as it is."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class _Divergence(_Stored):
    step: int
    told: str


class _Overflows(_Stored):
    steps: int
    first: int | None


class _Warning(_Stored):
    step: int


class _Health(_Stored):
    word: str | None = None
    first_spike: _Warning | None = None
    first_explosion: _Warning | None = None


class _Metric(_Stored):
    higher_is_better: bool


class _Metadata(_Stored):
    """What `run.json` holds; a finished run's holds all that reports need."""

    status: Annotated[Status, Field(strict=False)]
    arm: str | None = None
    seed: Annotated[int, Field(ge=0, le=MOST_SEED)] | None = None
    epochs: Annotated[int, Field(ge=0, le=MOST_EPOCHS)] | None = None
    steps: Annotated[int, Field(ge=0, le=MOST_STEPS)] | None = None
    started: str | None = None
    finished: str | None = None
    seconds: float | None = None
    resumed: list[str] | None = None
    reason: str | None = None
    recorded: bool | None = None
    seed_named: bool | None = None
    evaluated: bool | None = None
    every: Annotated[int, Field(ge=1, le=MOST_STEPS)] | None = None
    evaluation_split: Literal["test", "holdout", "validation"] | None = None
    dataset_sha256: str | None = None
    initial_weights_sha256: str | None = None
    first_epoch_sha256: str | None = None
    metrics: dict[str, _Metric] | None = None
    counts_correct: bool | None = None
    chance: dict[str, float] | None = None
    compiled: str | None = None
    variables: list[str] | None = None
    versions: dict[str, str] | None = None
    machine: dict[str, str | int | None] | None = None
    diverged: _Divergence | None = None
    overflows: _Overflows | None = None
    largest_applied: float | None = None
    clipped_steps: dict[str, Annotated[int, Field(ge=0, le=MOST_STEPS)]] | None = None
    health: _Health | None = None
    config_sha256: str | None = None
    metrics_sha256: str | None = None
    steps_sha256: str | None = None

    @model_validator(mode="after")
    def _finished_runs_are_whole(self) -> _Metadata:
        if self.status in FINISHED:
            needed = ["seed", "epochs", "steps", "versions", "machine"]
            needed += [] if self.recorded else ["evaluation_split", "dataset_sha256"]
            if missing := [name for name in needed if getattr(self, name) is None]:
                raise ValueError(f"a {self.status} run without {', '.join(missing)}")
        if self.status == Status.DIVERGED and self.diverged is None:
            raise ValueError("a diverged run without the place where it diverged")
        return self


def read_metadata(path: Readable) -> dict[str, Any]:
    """What a `run.json` says. Raises StoreError where it can't be read or is not what a run leaves."""
    content = read_json(path, RUN_SCHEMA)
    try:
        _Metadata.model_validate(content)
    except ValidationError as error:
        raise StoreError(f"{path}: is not one of gradclip's ({_first_mistake(error)})") from None
    return content


def _first_mistake(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"].removeprefix("Value error, ")
