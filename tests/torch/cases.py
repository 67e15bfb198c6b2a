"""The small networks that PyTorch is compared with: every backbone, every variant of every head."""

import numpy as np

IMAGE_SIZE = 96

COMPILE_QUICKLY = {"xla_backend_optimization_level": 0}
"""For `jax.jit`: these networks run once, so most of a test's time is their compilation."""

BACKBONES = {
    "resnet18": {"name": "ResNet18", "blocks": [1, 1, 1, 1], "width": 2},
    "resnet34": {"name": "ResNet34", "blocks": [2, 1, 1, 1], "width": 2},
    "resnet50": {"name": "ResNet50", "blocks": [1, 1, 1, 1], "width": 2},
    "densenet121": {"name": "DenseNet121", "blocks": [2, 2, 2, 2], "width": 4, "growth": 4},
}
HEADS = {
    "baseline": {"name": "Baseline"},
    "baseline_average": {"name": "Baseline", "pooling": "average"},
    "baseline_lse": {"name": "Baseline", "pooling": "lse", "lse_r": 5.0},
    "baseline_max_average": {"name": "Baseline", "pooling": "max_average"},
    "baseline_no_transition": {"name": "Baseline", "transition": "none"},
    "baseline_deconvolution": {"name": "Baseline", "transition": "deconvolution"},
    "space_attention": {"name": "SpaceAttention"},
    "space_attention_window": {"name": "SpaceAttention", "window": 2},
    "attention_gated": {"name": "AttentionGated"},
    "attention_gated_mean": {"name": "AttentionGated", "aggregation": "mean"},
    "attention_gated_deep_sup": {"name": "AttentionGated", "aggregation": "deep_sup"},
    "attention_gated_ft": {"name": "AttentionGated", "aggregation": "ft"},
    "squeeze_excitation": {"name": "SqueezeExcitation"},
    "pcam": {"name": "PCAM"},
    "log_sum_exp": {"name": "LogSumExp", "stride": 8, "width": 4, "decoder": "refined"},
    "log_sum_exp_learned": {
        "name": "LogSumExp", "stride": 16, "width": 4, "learned": "per_finding",
    },
    "pylon": {"name": "Pylon", "width": 4},
}  # fmt: skip
CASES = {
    f"{backbone}_baseline": {"backbone": fields, "head": HEADS["baseline"]}
    for backbone, fields in BACKBONES.items()
} | {
    f"resnet18_{head}": {"backbone": BACKBONES["resnet18"], "head": fields}
    for head, fields in HEADS.items()
}
"""The configs of golden files: each backbone with one head, each head on one backbone."""

_AUTHORS_GATED = {
    "name": "AttentionGated", "average": "probabilities", "map_sampling": "tiles",
}  # fmt: skip
AUTHORS = {
    f"authors_{name}": {"backbone": BACKBONES["resnet18"], "head": fields}
    for name, fields in {
        "lse": HEADS["baseline_lse"] | {"lse_positions": "side"},
        "lse_deconvolution": HEADS["baseline_lse"]
        | {"lse_positions": "side", "transition": "deconvolution"},
        "gated": _AUTHORS_GATED,
        "gated_mean": _AUTHORS_GATED | {"aggregation": "mean"},
        "gated_ft": _AUTHORS_GATED | {"aggregation": "ft"},
        "squeeze_excitation": {"name": "SqueezeExcitation", "window": 2, "shortcut": "authors"},
    }.items()
}
"""What the authors' code does where it differs from this package's defaults."""

PAIRS = (
    CASES
    | AUTHORS
    | {
        f"{backbone}_{head}": {"backbone": BACKBONES[backbone], "head": HEADS[head]}
        for backbone in ("resnet50", "densenet121")
        for head in ("space_attention", "attention_gated", "squeeze_excitation", "pylon")
    }
    | {
        f"dilated_{backbone}": {
            "backbone": BACKBONES[backbone] | {"output_stride": 8},
            "head": HEADS["pcam"],
        }
        for backbone in ("resnet34", "resnet50")
    }
)
"""As CASES, and the other heads on backbones that are built differently."""


def batch(size=IMAGE_SIZE):
    """Returns radiographs (2, size, size, 1) uint8 and labels (2, 14) uint8."""
    random = np.random.default_rng(7)
    images = random.integers(0, 256, (2, size, size, 1), np.uint8)
    return images, random.integers(0, 2, (2, 14), np.uint8)
