"""The 14 thoracic findings of ChestX-ray14, in the order of the paper's Table 1.

Every label vector, logit vector and heat map of this package has its findings in this order.
Source: Wang et al. 2017 (ChestX-ray8/14); paper, Tables 1 to 3.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

FINDINGS: tuple[str, ...] = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)

BOXED_FINDINGS: tuple[str, ...] = FINDINGS[:8]
"""The findings for which NIH's box list holds annotated boxes."""

NO_FINDING = "No Finding"
"""The release's label of a radiograph without any of the 14 findings."""

_SPELLINGS = {"Infiltrate": "Infiltration", "Pleural Thickening": "Pleural_Thickening"}
_CANONICAL = {
    spelling.lower(): finding
    for spelling, finding in (*zip(FINDINGS, FINDINGS, strict=True), *_SPELLINGS.items())
}
_INDEX = {finding: index for index, finding in enumerate(FINDINGS)}


def canonical_finding(name: str) -> str:
    """Returns the name that this package uses for a finding as a file or a person spells it.

    NIH's box list says ``Infiltrate`` for Infiltration. Small and capital letters are the same.

    Raises:
        KeyError: `name` is none of the 14 findings.
    """
    if (known := _CANONICAL.get(name.strip().lower())) is None:
        raise KeyError(name)
    return known


def finding_index(name: str) -> int:
    """Returns the position of a finding in `FINDINGS`; raises KeyError for an unknown name."""
    return _INDEX[canonical_finding(name)]


def label_vector(names: Iterable[str]) -> np.ndarray:
    """Returns the (14,) uint8 vector with ones at the named findings.

    ``No Finding`` adds nothing. Raises KeyError for an unknown name.
    """
    labels = np.zeros(len(FINDINGS), np.uint8)
    for name in names:
        if name.strip() != NO_FINDING:
            labels[finding_index(name)] = 1
    return labels
