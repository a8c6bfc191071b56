"""Rules about the names and the settings in a plan file."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from must_tf.common.errors import Mistakes
from must_tf.config import values as config_values
from must_tf.experiments import experiment_config

# Ends of the folders that a dataset's name stands for.
VALIDATION, MERGED_VALIDATION, LABELLED = "-val", "-val-merged", "-labelled"


def name_problems(datasets: Collection[str], transfers: Collection[str]) -> Iterator[str]:
    """Yields the names of which two would stand for one folder."""
    for key, names in (("datasets", datasets), ("transfer", transfers)):
        for name in names:
            if key == "transfer" and name in datasets:
                yield f"transfer.{name}: there is a dataset of this name too. Give it another name."
            for end in (VALIDATION, MERGED_VALIDATION, LABELLED):
                base = name.removesuffix(end)
                if base != name and base in {*datasets, *transfers}:
                    yield f"{key}.{name}: this is the folder of a part of {base!r}. Give it another name."


def settings(given: str | Mapping[str, Any], where: str, mistakes: Mistakes) -> Mapping[str, Any]:
    """Returns config values, and collects those that no run accepts.

    Args:
      given: the values, or the path of a YAML file of them.
      where: names them in messages.
      mistakes: get all problems.
    """
    values: Mapping[str, Any] = {}
    with mistakes.collected():
        values = config_values.read_yaml(given) if isinstance(given, str) else given
        place = f"{where}: {given}" if isinstance(given, str) else where
        config_values.apply(experiment_config.load("must_student"), dict(values), place)
    return values
