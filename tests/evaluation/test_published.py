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
