import pandas as pd

from jaxcxr.evaluation.published import MODELS, published_auc, published_localization
from jaxcxr.findings import BOXED_FINDINGS, FINDINGS


def test_every_published_auc_is_there():
    table = published_auc()
    assert set(table["model"]) == set(MODELS)
    assert all(set(group["finding"]) == set(FINDINGS) for _, group in table.groupby("model"))
    assert len(table) == 4 * 14
    means = table.groupby("model")["auc"].mean().round(3)
    assert means.to_dict() == {
        "resnet50_wang2017": 0.745,
        "resnet34_baseline": 0.784,
        "space_attention": 0.794,
        "attention_gated": 0.757,
    }


def test_every_published_accuracy_is_there():
    table = published_localization()
    assert set(table["source"]) == {"paper", "final report", "result files"}
    for _, group in table.groupby(["source", "model", "metric", "threshold"]):
        assert set(group["finding"]) == set(BOXED_FINDINGS)
        assert len(group) == 8
    assert table["accuracy"].between(0, 1).all()
    shown = table[(table["source"] == "paper") & (table["finding"] == "Nodule")]
    nodule = shown.set_index(["metric", "model"])["accuracy"]
    assert nodule["IoU", "resnet34_baseline"] == 0.0395
    assert nodule["IoBB", "space_attention"] == 0.6842


def test_published_accuracies_are_fractions_of_the_boxes_that_their_code_scored():
    """Docs/reproduction.md: of NIH's own counts they are not, but for Wang et al.'s."""
    table = published_localization()
    theirs = table["model"] != "resnet50_wang2017"

    def are_fractions(counts: tuple[int, ...]) -> pd.Series:
        boxes = table["finding"].map(dict(zip(sorted(BOXED_FINDINGS), counts, strict=True)))
        nearest = (table["accuracy"] * boxes).round() / boxes
        return (nearest - table["accuracy"]).abs() < 1.01e-4  # four decimals; theirs cut some off

    scored = are_fractions((174, 135, 128, 124, 94, 76, 141, 112))
    nih = are_fractions((180, 146, 153, 123, 85, 79, 120, 98))
    assert theirs.sum() == 384
    assert scored[theirs].all()
    in_paper = table["source"] == "paper"
    assert nih[in_paper & theirs].sum() == 4
    assert nih[in_paper & ~theirs].all()
