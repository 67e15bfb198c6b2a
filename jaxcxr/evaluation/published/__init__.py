"""The figures that the paper and its reference published, to stand beside ours.

`auc.csv` holds Table 1 of the paper (its column of Wang et al. 2017 included). `localization.csv`
holds accuracies by source: "paper" is Tables 2 and 3; "final report" the appendix of the authors'
project report; "result files" the authors' own result files. All localization figures but those of
Wang et al. were computed with the scoring of `jaxcxr.evaluation.published_protocol`.
"""

from __future__ import annotations

from importlib import resources

import pandas as pd

MODELS = {
    "resnet50_wang2017": "ResNet-50 (Wang et al. 2017)",
    "resnet34_baseline": "ResNet-34 baseline (paper)",
    "space_attention": "Space attention (paper)",
    "attention_gated": "Attention gated (paper)",
}
"""The published models and how tables call them."""


def published_auc() -> pd.DataFrame:
    """Returns model, finding, auc: Table 1 of the paper, 4 models × 14 findings."""
    return _table("auc.csv")


def published_localization() -> pd.DataFrame:
    """Returns source, model, metric ("IoU", "IoBB"), threshold, finding, accuracy."""
    return _table("localization.csv")


def _table(name: str) -> pd.DataFrame:
    with resources.files(__name__).joinpath(name).open(encoding="utf-8") as file:
        return pd.read_csv(file)
