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
    """Returns this package's name of a finding.

    NIH's box list spells Infiltration ``Infiltrate``. Case and surrounding spaces are ignored.

    Args:
        name: The finding as a file or a person spells it.

    Raises:
        KeyError: `name` is not one of the 14 findings.
    """
    if (known := _CANONICAL.get(name.strip().lower())) is None:
        raise KeyError(name)
    return known


def finding_index(name: str) -> int:
    """Returns the position of a finding in `FINDINGS`; raises KeyError for an unknown name."""
    return _INDEX[canonical_finding(name)]


def label_vector(names: Iterable[str]) -> np.ndarray:
    """Returns the label vector of a radiograph.

    Args:
        names: Its findings; ``No Finding`` adds nothing.

    Returns:
        (14,) uint8, ones at the named findings.

    Raises:
        KeyError: A name is not one of the 14 findings.
    """
    labels = np.zeros(len(FINDINGS), np.uint8)
    for name in names:
        if name.strip() != NO_FINDING:
            labels[finding_index(name)] = 1
    return labels
