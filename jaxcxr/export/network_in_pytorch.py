"""The network of this folder in PyTorch; needs torch and safetensors.

from network import predict

probabilities, heatmaps = predict(images)  # (B, S, S, 1) uint8, as model.json says

``model.safetensors`` is a state dict with torchvision's names for the backbone.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # noqa: N812  # pyright: ignore[reportMissingImports]

# Where PyTorch is not installed, torch has no attributes:
# pyright: reportAttributeAccessIssue=false
from safetensors.torch import load_file

Tensor = Any
CONFIG = json.loads((Path(__file__).parent / "model.json").read_text("utf-8"))
WEIGHTS: dict[str, Any] = load_file(Path(__file__).parent / "model.safetensors")
BACKBONE, HEAD = CONFIG["network"]["backbone"], CONFIG["network"]["head"]
PIXELS = CONFIG["network"].get("pixels") or {
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}


@torch.no_grad()
def predict(images: Tensor) -> tuple[Tensor, Tensor]:
    """Returns probabilities (B, F) and heat maps (B, h, w, F) of gray images (B, S, S, 1) uint8."""
    side = CONFIG["image_size"]
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1:] != (side, side, 1):
        raise ValueError(
            f"images are {images.dtype} of shape {tuple(images.shape)}; this network takes "
            f"torch.uint8 of shape (B, {side}, {side}, 1)"
        )
    mean, std = (torch.tensor(PIXELS[name])[:, None, None] for name in ("mean", "std"))
    x = (images.permute(0, 3, 1, 2).float() / 255 - mean) / std
    stages, grids = densenet(x) if "features.conv0.weight" in WEIGHTS else resnet(x)
    head = {"Baseline": baseline, "SpaceAttention": space, "AttentionGated": gated}
    logits, heatmaps = head.get(HEAD["name"], pooled_maps)(stages, grids)
    kept = CONFIG["trained_outputs"]
    return logits.sigmoid()[:, kept], heatmaps.permute(0, 2, 3, 1)[..., kept]


def conv(x: Tensor, name: str, **options: Any) -> Tensor:
    """Convolves with the kernel of this name."""
    return F.conv2d(x, WEIGHTS[f"{name}.weight"], WEIGHTS.get(f"{name}.bias"), **options)


def norm(x: Tensor, name: str) -> Tensor:
    """Normalizes by the running statistics of this name."""
    names = ("running_mean", "running_var", "weight", "bias")
    return F.batch_norm(x, *(WEIGHTS[f"{name}.{each}"] for each in names))


def dense(x: Tensor, name: str) -> Tensor:
    """Applies the dense layer of this name."""
    return F.linear(x, WEIGHTS[f"{name}.weight"], WEIGHTS[f"{name}.bias"])


def resnet(x: Tensor) -> tuple[list[Tensor], list[tuple[float, float]]]:
    """Returns the maps of each stage and their grids: (center of the first cell, distance)."""
    x = F.max_pool2d(F.relu(norm(conv(x, "conv1", stride=2, padding=3), "bn1")), 3, 2, 1)
    stages, grids, dilation = [], [], 1
    for stage, blocks in enumerate(BACKBONE["blocks"], start=1):
        before, stride = dilation, 1 if stage == 1 else 2
        if 2 ** (stage + 1) > BACKBONE["output_stride"]:
            dilation, stride = 2 * dilation, 1
        for block in range(blocks):
            at = f"layer{stage}.{block}"
            first = {"stride": stride, "padding": before, "dilation": before}
            if f"{at}.conv3.weight" in WEIGHTS:
                y = F.relu(norm(conv(x, f"{at}.conv1"), f"{at}.bn1"))
                y = F.relu(norm(conv(y, f"{at}.conv2", **first), f"{at}.bn2"))
                y = norm(conv(y, f"{at}.conv3"), f"{at}.bn3")
            else:
                y = F.relu(norm(conv(x, f"{at}.conv1", **first), f"{at}.bn1"))
                y = conv(y, f"{at}.conv2", padding=dilation, dilation=dilation)
                y = norm(y, f"{at}.bn2")
            if f"{at}.downsample.0.weight" in WEIGHTS:
                x = norm(conv(x, f"{at}.downsample.0", stride=stride), f"{at}.downsample.1")
            x, stride, before = F.relu(x + y), 1, dilation
        stages.append(x)
        grids.append((0.0, float(min(2 ** (stage + 1), BACKBONE["output_stride"]))))
    return stages, grids


def densenet(x: Tensor) -> tuple[list[Tensor], list[tuple[float, float]]]:
    """Returns the maps of each stage and their grids, as `resnet` does."""
    x = F.relu(norm(conv(x, "features.conv0", stride=2, padding=3), "features.norm0"))
    x, stages, grids = F.max_pool2d(x, 3, 2, 1), [], [(0.0, 4.0)]
    for stage, layers in enumerate(BACKBONE["blocks"], start=1):
        if stage > 1:
            at = f"features.transition{stage - 1}"
            x = F.avg_pool2d(conv(F.relu(norm(x, f"{at}.norm")), f"{at}.conv"), 2)
            grids.append((grids[-1][0] + grids[-1][1] / 2, 2 * grids[-1][1]))
        for layer in range(1, layers + 1):
            at = f"features.denseblock{stage}.denselayer{layer}"
            y = conv(F.relu(norm(x, f"{at}.norm1")), f"{at}.conv1")
            y = conv(F.relu(norm(y, f"{at}.norm2")), f"{at}.conv2", padding=1)
            x = torch.cat([x, y], 1)
        stages.append(x)
    stages[-1] = F.relu(norm(x, "features.norm5"))
    return stages, grids


def baseline(stages: Sequence[Tensor], _: Any) -> tuple[Tensor, Tensor]:
    """A transition, global pooling and a dense layer; class activation maps."""
    x = stages[-1]
    if HEAD["transition"] == "conv":
        x = conv(x, "head.transition")
    for step in (1, 2) if HEAD["transition"] == "deconvolution" else ():
        weight = WEIGHTS[f"head.transition.deconv{step}.weight"]
        x = F.conv_transpose2d(x, weight, stride=2, padding=1)
        x = F.relu(norm(x, f"head.transition.bn{step}"))
    largest, average = x.amax((2, 3)), x.mean((2, 3))
    side = stages[-1].shape[2]
    positions = x[0, 0].numel() if HEAD["lse_positions"] == "all" else side
    pooled = {
        "max": largest,
        "average": average,
        "max_average": (largest + average) / 2,
        "lse": log_sum_exp(x, torch.tensor(HEAD["lse_r"]), positions),
    }[HEAD["pooling"]]
    weights = WEIGHTS["head.classifier.weight"]
    return dense(pooled, "head.classifier"), torch.einsum("fc,bchw->bfhw", weights, x)


def space(stages: Sequence[Tensor], _: Any) -> tuple[Tensor, Tensor]:
    """Each position with its context; logits are the maps' averages."""
    x = stages[-1]
    window = [min(HEAD["window"] or side, side) for side in x.shape[2:]]
    context = F.interpolate(F.avg_pool2d(x, window, 1), x.shape[2:], mode="nearest")
    heatmaps = conv(torch.cat([context, x], 1), "head.conv")
    return heatmaps.mean((2, 3)), heatmaps


def gated(stages: Sequence[Tensor], grids: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """Two finer stages, gated by the coarsest."""
    x2, x3, x4 = *stages[-3:-1], conv(stages[-1], "head.coarse")
    scales, maps = [], []
    for number, x in ((2, x2), (3, x3)):
        phi = conv(x4, f"head.gate{number}.phi")
        phi = F.interpolate(phi, x.shape[2:], mode="bilinear", align_corners=True)
        attention = F.relu(conv(x, f"head.gate{number}.theta") + phi)
        attention = conv(attention, f"head.gate{number}.psi").sigmoid()
        through = conv(attention * x, f"head.gate{number}.conv")
        scales.append(norm(through, f"head.gate{number}.bn").sum((2, 3)))
        maps.append(attention)
    logits, weights = gated_logits([*scales, x4.mean((2, 3))])
    maps.append(torch.einsum("fc,bchw->bfhw", weights, x4))
    if HEAD["map_sampling"] == "tiles":
        steps = [x2.shape[2] / each.shape[2] for each in maps]
        grids = [((step - 1) / 2, step) for step in steps]
    sizes = x2.shape[2:]
    fine = [sampled(m, at, grids[-3], sizes) for m, at in zip(maps, grids[-3:], strict=True)]
    return logits, sum(map(unit_range, fine)) / 3


def gated_logits(scales: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Returns logits and the weights of the coarse map in them."""
    kind, as_probabilities = HEAD["aggregation"], HEAD["average"] == "probabilities"
    joint: Any = WEIGHTS.get("head.classifier.weight")
    each, own, wide = [], 0, scales[-1].shape[1]
    if kind in ("concat", "deep_sup"):
        each, own = [dense(torch.cat(list(scales), 1), "head.classifier")], joint[:, -wide:]
    if kind == "concat":
        return each[0], own
    each += [dense(scale, f"head.classifier{at}") for at, scale in enumerate(scales, start=2)]
    own = own + WEIGHTS["head.classifier4.weight"]
    if kind == "ft":
        read = torch.cat(each, 1)
        if as_probabilities:
            return dense(read.sigmoid(), "head.classifier"), own
        return dense(read, "head.classifier"), joint[:, -len(own) :] @ own
    stacked = torch.stack(each)
    if as_probabilities:
        return stacked.double().sigmoid().mean(0).logit().float(), own
    return stacked.mean(0), own


def pooled_maps(stages: Sequence[Tensor], grids: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """A map of logits for each finding, pooled: PCAM, log-sum-exp or its maximum."""
    x = stages[-1]
    if HEAD["stride"] is not None:
        finest = [stride for _, stride in grids].index(HEAD["stride"])
        merge = attention_pyramid if HEAD["decoder"] == "attention" else sum_pyramid
        x = merge(stages, grids, finest)
    maps = conv(x, "head.conv")
    if HEAD["name"] == "Pylon":
        logits = maps.amax((2, 3))
    elif HEAD["name"] == "PCAM":
        logits = (F.logsigmoid(maps).flatten(2).softmax(2) * maps.flatten(2)).sum(2)
    else:
        r = HEAD["r0"] + WEIGHTS.get("head.beta", torch.zeros(())).exp()
        logits = log_sum_exp(maps, r, maps[0, 0].numel())
    return logits, maps.sigmoid()


def sum_pyramid(stages: Sequence[Tensor], grids: Sequence[Any], finest: int) -> Tensor:
    """Adds the stages from the coarsest down."""
    merged = conv(stages[-1], f"head.pyramid.lateral{len(stages)}")
    for stage in reversed(range(finest, len(stages) - 1)):
        lateral = conv(stages[stage], f"head.pyramid.lateral{stage + 1}")
        merged = lateral + sampled(merged, grids[stage + 1], grids[stage], lateral.shape[2:])
        if HEAD["decoder"] == "refined":
            merged = conv_norm_relu(F.relu(merged), f"head.pyramid.refine{stage + 1}")
    return F.relu(merged)


def attention_pyramid(stages: Sequence[Tensor], grids: Sequence[Any], finest: int) -> Tensor:
    """PYLON's decoder."""
    maps, places = [stages[-1]], [grids[-1]]
    for scale in (1, 2, 3):
        pooled = F.max_pool2d(maps[-1], 2, ceil_mode=True)
        maps.append(conv_norm_relu(pooled, f"head.pyramid.down{scale}"))
        places.append((places[-1][0] + places[-1][1] / 2, 2 * places[-1][1]))
    total = 0
    for scale in (3, 2, 1):
        total = total + conv_norm_relu(maps[scale], f"head.pyramid.conv{scale}")
        size = maps[scale - 1].shape[2:]
        total = sampled(total, places[scale], places[scale - 1], size)
    merged = total * conv_norm_relu(stages[-1], "head.pyramid.middle")
    for stage in reversed(range(finest, len(stages) - 1)):
        x = stages[stage]
        above = sampled(merged, grids[stage + 1], grids[stage], x.shape[2:])
        x = conv_norm_relu(x, f"head.pyramid.stage{stage + 1}_0")
        merged = above + conv_norm_relu(x, f"head.pyramid.stage{stage + 1}_1")
    return merged


def conv_norm_relu(x: Tensor, name: str) -> Tensor:
    """Convolves, normalizes and rectifies."""
    padding = WEIGHTS[f"{name}.conv.weight"].shape[2] // 2
    return F.relu(norm(conv(x, f"{name}.conv", padding=padding), f"{name}.bn"))


def log_sum_exp(x: Tensor, r: Tensor, positions: int) -> Tensor:
    """Pools (B, C, h, w) to (B, C)."""
    return ((r.reshape(-1, 1, 1) * x).logsumexp((2, 3)) - torch.tensor(positions).log()) / r


def unit_range(x: Tensor) -> Tensor:
    """Scales each map to 0..1; a constant one becomes 0."""
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    return (x - low) / torch.where(high > low, high - low, 1)


def sampled(x: Tensor, source: Any, target: Any, size: Sequence[int]) -> Tensor:
    """Samples maps linearly where the cells of another grid lie."""
    matrices = []
    for cells, held in zip(size, x.shape[2:], strict=True):
        places = (target[0] + target[1] * torch.arange(cells) - source[0]) / source[1]
        distances = places.clamp(0, held - 1)[:, None] - torch.arange(held)
        matrices.append((1 - distances.abs()).clamp(min=0))
    return torch.einsum("bchw,Hh,Ww->bcHW", x, *matrices)
