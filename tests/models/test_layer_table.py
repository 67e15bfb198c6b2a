from jaxcxr.models import Baseline, Classifier, Pylon, ResNet18
from jaxcxr.models.layer_table import summary


def test_the_table_shows_names_shapes_and_counts():
    table = summary(Classifier(ResNet18(), Baseline()), image_size=96, depth=1).splitlines()
    assert table[0].split() == ["Layer", "Output", "Parameters"]
    assert table[2].split(maxsplit=2)[:2] == ["backbone", "(ResNet18)"]
    assert "(B, 3, 3, 512)" in table[2]
    assert table[2].endswith("11,176,512")
    assert "(B, 14), (B, 3, 3, 14)" in table[3]
    assert table[-1] == "Total parameters: 11,446,350"


def test_depth_opens_layers():
    model = Classifier(ResNet18(blocks=(1, 1, 1, 1), width=4), Pylon())
    assert "stage1_0" not in summary(model, 64, depth=1)
    table = summary(model, 64, depth=3).splitlines()
    assert table[5].split() == [
        "backbone/stage1_0",
        "(BasicBlock)",
        "(B,",
        "16,",
        "16,",
        "4)",
        "304",
    ]
    assert any("head/pyramid/middle (ConvBatchNormReLU)" in line for line in table)
