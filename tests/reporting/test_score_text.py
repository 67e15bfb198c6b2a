import numpy as np
import pandas as pd

from jaxcxr.reporting.score_text import auc_text, localization_text, paired_text


def test_aucs_and_the_reasons_of_missing_ones():
    scores = pd.DataFrame(
        {
            "finding": ["Mass", "Hernia", "Edema", "Mean"],
            "auc": [0.81251, np.nan, np.nan, 0.81251],
            "ci_low": [0.75, np.nan, np.nan, 0.75],
            "ci_high": [0.9, np.nan, np.nan, 0.9],
            "positives": [12, 0, 5, 12],
            "negatives": [1234, 1246, 1241, 1234],
        }
    )
    assert auc_text(scores, pd.DataFrame(columns=["Mass", "Hernia"])).splitlines() == [
        "finding                AUC  95 % interval   positives negatives",
        "Mass                 0.813  [0.750, 0.900]         12      1234",
        "Hernia                   –  one class only          0      1246",
        "Edema                    –  not in the file         5      1241",
        "Mean                 0.813  [0.750, 0.900]",
    ]


def test_differences_with_their_p_values():
    table = pd.DataFrame(
        [
            ("Mass", 0.8, 0.7, 0.1, 0.05, 0.15, 0.00009, 0.0001),
            ("Edema", 0.5, 0.6, -0.1, -0.2, 0.01, 0.25, 1.0),
            ("Hernia", *[np.nan] * 7),
            ("Mean", 0.65, 0.65, 0.0, -0.01, 0.01, np.nan, np.nan),
        ],
        columns="finding auc_a auc_b difference ci_low ci_high p_value p_holm".split(),  # noqa: SIM905
    )
    assert paired_text(table).splitlines() == [
        "finding                  A      B   A - B  95 % interval            p  p (Holm)",
        "Mass                 0.800  0.700  +0.100  [+0.050, +0.150]   <0.0001    0.0001",
        "Edema                0.500  0.600  -0.100  [-0.200, +0.010]    0.2500    1.0000",
        "Hernia                   –      –       –  not in both, or one class",
        "Mean                 0.650  0.650  +0.000  [-0.010, +0.010]",
    ]


def test_accuracies_at_the_papers_thresholds():
    levels = [("IoU", 0.3), ("IoBB", 0.25), ("IoU", 0.5)]
    table = pd.DataFrame(
        [
            (finding, metric, threshold, accuracy + index / 10, boxes, 1.255 + index)
            for finding, accuracy, boxes in (("Mass", 0.25, 7), ("Nodule", np.nan, 0))
            for index, (metric, threshold) in enumerate(levels)
        ],
        columns=["finding", "metric", "threshold", "accuracy", "boxes", "afp"],
    )
    ends = table[["finding", "metric", "threshold"]].assign(ci_low=0.125, ci_high=0.5)
    lines = localization_text(table, ends).splitlines()
    assert " ".join(lines[0].split()) == "finding boxes IoU > 0.3 AFP IoBB > 0.25 AFP"
    mass = "Mass 7 0.250 [0.125, 0.500] 1.25 0.350 [0.125, 0.500] 2.25"
    assert lines[1].split() == mass.split()
    assert lines[2].split() == ["Nodule", "0", "–", "–"]
