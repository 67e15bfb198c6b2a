import numpy as np
import pandas as pd

from jaxcxr.reporting.score_text import auc_text, localization_text, paired_text

NAN = np.nan


def lines_of(text):
    """Returns the lines of a text with single spaces."""
    return [" ".join(line.split()) for line in text.splitlines()]


def test_aucs_and_the_reasons_of_missing_ones():
    rows = [
        ("Mass", 0.81251, 0.75, 0.9, 12, 1234),
        ("Hernia", NAN, NAN, NAN, 0, 1246),
        ("Edema", NAN, NAN, NAN, 5, 1241),
        ("Mean", 0.81251, 0.75, 0.9, 12, 1234),
    ]
    columns = ["finding", "auc", "ci_low", "ci_high", "positives", "negatives"]
    scores = pd.DataFrame(rows, columns=columns).assign(unknown=0)
    assert auc_text(scores, pd.DataFrame(columns=["Mass", "Hernia"])).splitlines() == [
        "         AUC    95 % interval  positives  negatives",
        "Mass   0.813   [0.750, 0.900]         12       1234",
        "Hernia     –   one class only          0       1246",
        "Edema      –  not in the file          5       1241",
        "Mean   0.813   [0.750, 0.900]         12       1234",
    ]
    nothing = auc_text(scores.iloc[1:].assign(auc=NAN), pd.DataFrame())
    assert "one class only" in nothing.splitlines()[-1]


def test_differences_with_their_p_values():
    rows = [
        ("Mass", 0.8, 0.7, 0.1, 0.05, 0.15, 0.00009, 0.0001),
        ("Edema", 0.5, 0.6, -0.1, -0.2, 0.01, 0.25, 1.0),
        ("Hernia", *[NAN] * 7),
        ("Mean", 0.65, 0.65, 0.0, -0.01, 0.01, NAN, NAN),
    ]
    columns = ["auc_a", "auc_b", "difference", "ci_low", "ci_high", "p_value", "p_holm"]
    assert lines_of(paired_text(pd.DataFrame(rows, columns=["finding", *columns]))) == [
        "A B A - B 95 % interval p p (Holm)",
        "Mass 0.800 0.700 +0.100 [+0.050, +0.150] <0.0001 0.0001",
        "Edema 0.500 0.600 -0.100 [-0.200, +0.010] 0.2500 1.0000",
        "Hernia – – – not in both, or one class – –",
        "Mean 0.650 0.650 +0.000 [-0.010, +0.010] – –",
    ]


def test_accuracies_at_the_papers_thresholds():
    levels = [("IoU", 0.3), ("IoBB", 0.25), ("IoU", 0.5)]
    rows = [
        (finding, metric, threshold, accuracy + index / 10, boxes, 1.255 + index)
        for finding, accuracy, boxes in (("Mass", 0.25, 7), ("Nodule", NAN, 0))
        for index, (metric, threshold) in enumerate(levels)
    ]
    columns = ["finding", "metric", "threshold", "accuracy", "boxes", "afp"]
    table = pd.DataFrame(rows, columns=columns)
    ends = table[columns[:3]].assign(ci_low=[0.125, 0.25, 0, *[NAN] * 3], ci_high=0.5)
    assert lines_of(localization_text(table, ends)) == [
        "boxes IoU > 0.3 95 % interval AFP IoBB > 0.25 95 % interval AFP",
        "Mass 7 0.250 [0.125, 0.500] 1.255 0.350 [0.250, 0.500] 2.255",
        "Nodule 0 – – 1.255 – – 2.255",
    ]
