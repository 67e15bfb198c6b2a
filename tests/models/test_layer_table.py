import jax
import jax.numpy as jnp

from jaxcxr.models import Baseline, Classifier, ResNet18, SqueezeExcitation
from jaxcxr.models.layer_table import layers, summary

MODEL = Classifier(ResNet18(blocks=(1, 1, 1, 1), width=4), SqueezeExcitation())


def test_layers_follow_their_parents_and_count_their_parameters():
    rows = {layer.path: layer for layer in layers(MODEL, 64)}
    paths = list(rows)
    assert paths[0] == ()
    for path in paths[1:]:
        assert paths.index(path[:-1]) < paths.index(path)
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    params = jax.eval_shape(MODEL.init, jax.random.key(0), images)["params"]
    assert rows[()].parameters == sum(leaf.size for leaf in jax.tree.leaves(params))
    assert rows["backbone", "stage2_0", "conv1"].parameters == 4 * 8 * 9
    assert rows["backbone", "stage2_0"].shapes == ((1, 8, 8, 8),)
    assert rows["head",].shapes == ((1, 14), (1, 2, 2, 14))


def test_the_table_shows_names_shapes_and_counts():
    table = summary(Classifier(ResNet18(), Baseline()), image_size=96, depth=1).splitlines()
    assert table[0].split() == ["Layer", "Output", "Parameters"]
    assert table[2].split(maxsplit=2)[:2] == ["backbone", "(ResNet18)"]
    assert "(B, 3, 3, 512)" in table[2]
    assert table[2].endswith("11,176,512")
    assert "(B, 14), (B, 3, 3, 14)" in table[3]
    assert table[-1] == "Total parameters: 11,446,350"


def test_depth_opens_layers():
    assert "stage1_0" not in summary(MODEL, 64, depth=1)
    assert "stage1_0 (BasicBlock)" in summary(MODEL, 64)
    assert "    conv1 (Conv)" in summary(MODEL, 64, depth=3)
