"""A training that was killed leaves checkpoints behind; the next one must not mistake them for its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from feature_train_serve.train.fit import fit
from feature_train_serve.train.recipes import Recipe

from mlops_obs.errors import PlatformError


def test_training_starts_without_the_checkpoints_of_a_killed_run(
    lender_folder: Path, recipes: dict[str, Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray_torch = pytest.importorskip("ray.train.torch", reason="ray is missing: pip install mlops-obs[train]")
    work = tmp_path / "checkpoints" / "v2"
    (work / "v2" / "checkpoint_000001").mkdir(parents=True)
    found: list[list[Path]] = []

    class Trainer:
        def __init__(self, *_: object, **__: object) -> None:
            found.append(list(work.iterdir()))

        def fit(self) -> None:
            raise RuntimeError("no cluster in this test")

    monkeypatch.setattr(ray_torch, "TorchTrainer", Trainer)

    with pytest.raises(PlatformError, match="no cluster in this test"):
        fit(recipes["v2"], lender_folder / "training_set", work, seed=1)

    assert found == [[]]
    assert not work.exists()
