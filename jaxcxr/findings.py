"""The 14 thoracic findings of ChestX-ray14, in the order of the paper's Table 1.

Every label vector, logit vector and heat map of this package has its findings in this order.
Source: Wang et al. 2017 (ChestX-ray8/14); paper, Tables 1 to 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
"""The findings of ChestX-ray14, in the order of labels, logits and heat maps."""

BOXED_FINDINGS: tuple[str, ...] = FINDINGS[:8]
"""The findings for which NIH's box list holds annotated boxes."""

NO_FINDING = "No Finding"
"""The release's label of a radiograph without any of the 14 findings."""

_SPELLINGS = {
    "Infiltrate": "Infiltration",
    "Infiltrates": "Infiltration",
    "Pleural Effusion": "Effusion",
    "Pulmonary Edema": "Edema",
    "Pulmonary Fibrosis": "Fibrosis",
    "Hiatal Hernia": "Hernia",
}
"""Names of NIH's box list, CheXpert, VinDr-CXR and PadChest for the same finding. "Lung Opacity",
"Lung Lesion", "Enlarged Cardiomediastinum", "Fracture" and others have no counterpart."""


def _key(name: str) -> str:
    return name.strip().lower().replace("_", " ")


_CANONICAL = {
    _key(spelling): finding
    for spelling, finding in (*zip(FINDINGS, FINDINGS, strict=True), *_SPELLINGS.items())
}
_INDEX = {finding: index for index, finding in enumerate(FINDINGS)}


def canonical_finding(name: str) -> str:
    """Returns this package's name of a finding.

    Other label sets' names of the same finding are known ("Infiltrate", "Pleural Effusion"). Case,
    surrounding spaces and underscores in place of spaces make no difference.

    Args:
        name: The finding as a file or a person spells it.

    Raises:
        KeyError: `name` is not one of the 14 findings.
    """
    if (known := _CANONICAL.get(_key(name))) is None:
        raise KeyError(name)
    return known


def counterparts(names: Sequence[str]) -> dict[str, int]:
    """Returns which of a network's findings are among the 14 of this package.

    Args:
        names: The network's findings.

    Returns:
        For each of `FINDINGS` that the network has, its position in `names`; where two names mean
        the same finding, the one spelled as in `FINDINGS`, else the first.
    """
    known = [_CANONICAL.get(_key(name)) for name in names]
    return {
        finding: names.index(finding) if finding in names else known.index(finding)
        for finding in FINDINGS
        if finding in known
    }


def match_finding(name: str, names: Sequence[str]) -> str:
    """Returns the one of a network's findings that a file or a person means.

    Args:
        name: The finding, with the freedom of `canonical_finding`.
        names: The network's findings.

    Raises:
        KeyError: It is none of them.
    """
    for known in names:
        if _key(known) == _key(name):
            return known
    return names[counterparts(names)[canonical_finding(name)]]


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
