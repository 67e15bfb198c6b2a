"""The PyTorch side: torchvision's backbones and the study's heads, written from their descriptions.

Heads are named as this package exports them; `authors_network` puts the same layers under the
names that the authors' checkpoints bear.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, channels, width, stride, before=1, after=1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, before, before, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, after, after, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut(channels, width, stride)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, channels, width, stride, before=1, after=1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, before, before, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = shortcut(channels, 4 * width, stride)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def shortcut(channels, features, stride):
    if stride == 1 and channels == features:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(channels, features, 1, stride, bias=False), nn.BatchNorm2d(features)
    )


class ResNet(nn.Module):
    def __init__(self, block, blocks, width=64, output_stride=32):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.channels, dilation = [width], 1
        for stage, count in enumerate(blocks):
            features = width * 2**stage
            layer, before, stride = nn.Sequential(), dilation, 2 if stage > 0 else 1
            if 4 * 2**stage > output_stride:  # torchvision's replace_stride_with_dilation
                dilation, stride = 2 * dilation, 1
            for index in range(count):
                if index == 0:
                    layer.append(block(self.channels[-1], features, stride, before, dilation))
                else:
                    layer.append(block(block.expansion * features, features, 1, dilation, dilation))
            self.channels.append(block.expansion * features)
            self.add_module(f"layer{stage + 1}", layer)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(self.channels[-1], 1000)

    def forward(self, x, link):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        stages = []
        for index, layer in enumerate([self.layer1, self.layer2, self.layer3, self.layer4]):
            x = link(index, x, layer(x))
            stages.append(x)
        return stages


class DenseLayer(nn.Module):
    def __init__(self, channels, growth):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, 1, 1, bias=False)

    def forward(self, x):
        y = self.conv1(F.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(F.relu(self.norm2(y)))], 1)


class Transition(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels // 2, 1, bias=False)

    def forward(self, x):
        return F.avg_pool2d(self.conv(F.relu(self.norm(x))), 2)


class DenseNet(nn.Module):
    def __init__(self, blocks, width=64, growth=32):
        super().__init__()
        self.features = nn.Module()
        self.features.conv0 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.features.norm0 = nn.BatchNorm2d(width)
        self.channels, channels = [width], width
        for stage, count in enumerate(blocks, start=1):
            if stage > 1:
                self.features.add_module(f"transition{stage - 1}", Transition(channels))
                channels //= 2
            block = nn.Sequential()
            for index in range(count):
                block.add_module(f"denselayer{index + 1}", DenseLayer(channels, growth))
                channels += growth
            self.features.add_module(f"denseblock{stage}", block)
            self.channels.append(channels)
        self.features.norm5 = nn.BatchNorm2d(channels)
        self.classifier = nn.Linear(channels, 1000)

    def forward(self, x, link):
        f = self.features
        x = F.max_pool2d(F.relu(f.norm0(f.conv0(x))), 3, 2, 1)
        stages = []
        for stage in range(1, 5):
            before = x
            if stage > 1:
                x = getattr(f, f"transition{stage - 1}")(x)
            x = getattr(f, f"denseblock{stage}")(x)
            if stage == 4:
                x = F.relu(f.norm5(x))
            x = link(stage - 1, before, x)
            stages.append(x)
        return stages


class Head(nn.Module):
    def link(self, stage, before, after):
        return after


class Baseline(Head):
    def __init__(self, channels, pooling="max", lse_r=10.0, lse_positions="all", transition="conv"):
        super().__init__()
        self.pooling, self.lse_r, self.lse_positions = pooling, lse_r, lse_positions
        wide = channels[-1]
        if transition == "conv":
            self.transition = nn.Conv2d(wide, wide, 1)
        elif transition == "deconvolution":
            self.transition = nn.Sequential()
            for index in (1, 2):
                deconv = nn.ConvTranspose2d(wide, wide, 4, 2, 1, bias=False)
                self.transition.add_module(f"deconv{index}", deconv)
                self.transition.add_module(f"bn{index}", nn.BatchNorm2d(wide))
                self.transition.add_module(f"relu{index}", nn.ReLU())
        self.classifier = nn.Linear(wide, 14)

    def forward(self, stages):
        x = self.transition(stages[-1]) if hasattr(self, "transition") else stages[-1]
        highest, average = F.adaptive_max_pool2d(x, 1).flatten(1), x.mean((2, 3))
        # The authors' S is a constant of the backbone's map, whatever the transition makes of it.
        positions = x[0, 0].numel() if self.lse_positions == "all" else stages[-1].shape[-1]
        pooled = {
            "max": highest,
            "average": average,
            "max_average": (highest + average) / 2,
            "lse": torch.log(torch.exp(self.lse_r * x).sum((2, 3)) / positions) / self.lse_r,
        }[self.pooling]
        return self.classifier(pooled), torch.einsum("fc,bchw->bfhw", self.classifier.weight, x)


class SpaceAttention(Head):
    def __init__(self, channels, window=None):
        super().__init__()
        self.window = window
        self.conv = nn.Conv2d(2 * channels[-1], 14, 1)

    def forward(self, stages):
        x = stages[-1]
        if self.window is None:
            context = F.adaptive_avg_pool2d(x, 1).expand_as(x)
        else:
            context = F.avg_pool2d(x, self.window, 1)
            context = F.interpolate(context, x.shape[2:], mode="nearest")
        heatmaps = self.conv(torch.cat([context, x], 1))
        return heatmaps.mean((2, 3)), heatmaps


class AttentionGate(nn.Module):
    def __init__(self, channels, coarse):
        super().__init__()
        self.theta = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.phi = nn.Conv2d(coarse, channels // 2, 1)
        self.psi = nn.Conv2d(channels // 2, 1, 1)
        self.conv = nn.Conv2d(channels, channels, 1)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x, coarse):
        phi = enlarge(self.phi(coarse), x.shape[2:])
        attention = torch.sigmoid(self.psi(F.relu(self.theta(x) + phi)))
        return self.bn(self.conv(attention * x)).sum((2, 3)), attention


class AttentionGated(Head):
    def __init__(self, channels, aggregation="concat", average="logits", map_sampling="centers"):
        super().__init__()
        self.aggregation, self.average = aggregation, average
        self.map_sampling = map_sampling
        c2, c3, c4 = channels[-3:]
        self.coarse = nn.Conv2d(c4, c4, 1)
        self.gate2 = AttentionGate(c2, c4)
        self.gate3 = AttentionGate(c3, c4)
        if aggregation in ("concat", "deep_sup"):
            self.classifier = nn.Linear(c2 + c3 + c4, 14)
        if aggregation == "ft":
            self.classifier = nn.Linear(3 * 14, 14)
        if aggregation != "concat":
            self.classifier2 = nn.Linear(c2, 14)
            self.classifier3 = nn.Linear(c3, 14)
            self.classifier4 = nn.Linear(c4, 14)

    offsets: tuple[float, ...]

    def forward(self, stages):
        x2, x3, x4 = stages[-3], stages[-2], self.coarse(stages[-1])
        g2, attention2 = self.gate2(x2, x4)
        g3, attention3 = self.gate3(x3, x4)
        logits = self.aggregate(g2, g3, x4.mean((2, 3)))
        maps = attention2, attention3, self.activation(g2, g3, x4)
        if self.map_sampling == "tiles":
            enlarged = [
                F.interpolate(m, x2.shape[2:], mode="bilinear", align_corners=False) for m in maps
            ]
        else:
            steps = zip(maps, self.offsets, (1, 2, 4), strict=True)
            enlarged = [sampled(*step, x2.shape[2:]) for step in steps]
        return logits, sum(map(unit_range, enlarged)) / 3

    def activation(self, g2, g3, x4):
        """Returns what the features at each position alone would add to the logits."""
        if self.average == "probabilities" and self.aggregation in ("mean", "ft"):
            return torch.einsum("fc,bchw->bfhw", self.classifier4.weight, x4)
        none2, none3 = torch.zeros_like(g2), torch.zeros_like(g3)
        bias = self.aggregate(none2, none3, torch.zeros_like(x4[:, :, 0, 0]))
        columns = [self.aggregate(none2, none3, x) - bias for x in x4.flatten(2).unbind(2)]
        return torch.stack(columns, 2).unflatten(2, x4.shape[2:])

    def aggregate(self, g2, g3, g4):
        together = torch.cat([g2, g3, g4], 1)
        if self.aggregation == "concat":
            return self.classifier(together)
        each = [self.classifier2(g2), self.classifier3(g3), self.classifier4(g4)]
        if self.aggregation == "deep_sup":
            each.append(self.classifier(together))
        if self.average == "probabilities":
            each = [torch.sigmoid(logits) for logits in each]
        if self.aggregation == "ft":
            return self.classifier(torch.cat(each, 1))
        mean = torch.stack(each).mean(0)
        return torch.logit(mean.double()) if self.average == "probabilities" else mean


def enlarge(x, size):
    return F.interpolate(x, size, mode="bilinear", align_corners=True)


def sampled(x, offset, step, size):
    """Samples maps where a fine map's cells lie; cell i here is its position offset + step · i."""
    axes = [
        2 * ((torch.arange(fine) - offset) / step) / max(coarse - 1, 1) - 1
        for fine, coarse in zip(size, x.shape[2:], strict=True)
    ]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1).expand(len(x), -1, -1, -1)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=True)


def unit_range(x):
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    return (x - low) / (high - low)


class SqueezeExcitation(Head):
    shrink: Callable[[torch.Tensor], torch.Tensor]

    def __init__(self, channels, window=None, shortcut="first"):
        super().__init__()
        self.shortcut = shortcut
        for stage, (before, after) in enumerate(pairwise(channels)):
            part = nn.Module()
            part.squeeze = nn.Conv2d(after, after, 1)
            part.excite = nn.Conv2d(after, after, 1)
            if stage > 0 or before != after:
                part.downsample_conv = nn.Conv2d(before, after, 1)
                part.downsample_bn = nn.BatchNorm2d(after)
            self.add_module(f"stages_{stage}", part)
        self.attention = SpaceAttention(channels, window)

    def link(self, stage, before, after):
        part = getattr(self, f"stages_{stage}")
        weights = part.squeeze(after.mean((2, 3), keepdim=True))
        weights = torch.sigmoid(part.excite(F.relu(weights)))
        if hasattr(part, "downsample_conv"):
            shrinks_last = self.shortcut == "authors" and stage >= 2
            if stage > 0 and not shrinks_last:
                before = self.shrink(before)
            before = part.downsample_bn(part.downsample_conv(before))
            if shrinks_last:
                before = F.interpolate(before, scale_factor=0.5)
        return after * weights + before

    def forward(self, stages):
        return self.attention(stages)


class ConvBnRelu(nn.Module):
    def __init__(self, channels, features, kernel=1):
        super().__init__()
        self.conv = nn.Conv2d(channels, features, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(features)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class Sum(nn.Module):
    """A feature pyramid; coarser maps' first cells lie at `offset` of the finer ones'."""

    offset: float

    def __init__(self, channels, width, finest, refined):
        super().__init__()
        self.finest, self.refined = finest, refined
        for stage, wide in enumerate(channels, start=1):
            if stage >= finest:
                self.add_module(f"lateral{stage}", nn.Conv2d(wide, width, 1))
                if refined and stage < len(channels):
                    self.add_module(f"refine{stage}", ConvBnRelu(width, width, 3))

    def forward(self, stages):
        last = len(stages)
        merged = getattr(self, f"lateral{last}")(stages[-1])
        for stage in range(last - 1, self.finest - 1, -1):
            lateral = getattr(self, f"lateral{stage}")(stages[stage - 1])
            merged = lateral + sampled(merged, self.offset, 2, lateral.shape[2:])
            if self.refined:
                merged = getattr(self, f"refine{stage}")(F.relu(merged))
        return F.relu(merged)


class Attention(nn.Module):
    """PYLON's decoder; see `Sum`."""

    offset: float

    def __init__(self, channels, width, finest):
        super().__init__()
        self.finest = finest
        self.middle = ConvBnRelu(channels[-1], width)
        inputs = channels[-1]
        for scale, kernel in enumerate((7, 5, 3), start=1):
            self.add_module(f"down{scale}", ConvBnRelu(inputs, 1, kernel))
            self.add_module(f"conv{scale}", ConvBnRelu(1, 1, kernel))
            inputs = 1
        for stage, wide in enumerate(channels[:-1], start=1):
            if stage >= finest:
                self.add_module(f"stage{stage}_0", ConvBnRelu(wide, wide))
                self.add_module(f"stage{stage}_1", ConvBnRelu(wide, width))

    def forward(self, stages):
        x = stages[-1]
        x1 = self.down1(F.max_pool2d(x, 2, ceil_mode=True))
        x2 = self.down2(F.max_pool2d(x1, 2, ceil_mode=True))
        x3 = self.down3(F.max_pool2d(x2, 2, ceil_mode=True))
        weights = pooled_above(self.conv3(x3), x2)
        weights = pooled_above(self.conv2(x2) + weights, x1)
        merged = self.middle(x) * pooled_above(self.conv1(x1) + weights, x)
        for stage in range(len(stages) - 1, self.finest - 1, -1):
            x = stages[stage - 1]
            y = getattr(self, f"stage{stage}_1")(getattr(self, f"stage{stage}_0")(x))
            merged = y + sampled(merged, self.offset, 2, x.shape[2:])
        return merged


def pooled_above(x, finer):
    return sampled(x, 0.5, 2, finer.shape[2:])


class PooledMaps(Head):
    """A 1×1 convolution to maps of logits, each pooled to one logit."""

    def __init__(self, channels, stride=None, width=64, decoder="sum", **fields):
        super().__init__()
        stages = channels[1:]
        if stride is not None:
            finest = int(stride).bit_length() - 2  # stage 1 has stride 4
            self.pyramid = (
                Attention(stages, width, finest)
                if decoder == "attention"
                else Sum(stages, width, finest, decoder == "refined")
            )
        self.conv = nn.Conv2d(stages[-1] if stride is None else width, 14, 1)
        self.add_parameters(**fields)

    def add_parameters(self):
        pass

    def forward(self, stages):
        features = self.pyramid(stages) if hasattr(self, "pyramid") else stages[-1]
        maps = self.conv(features)
        return self.pool(features, maps), torch.sigmoid(maps)


class PCAM(PooledMaps):
    def pool(self, features, maps):
        """The finding's weights pool the features, which the same convolution reads."""
        weights = torch.sigmoid(maps)
        weights = weights / weights.sum((2, 3), keepdim=True)
        pooled = torch.einsum("bchw,bfhw->bfc", features, weights)
        return torch.einsum("bfc,fc->bf", pooled, self.conv.weight[:, :, 0, 0]) + self.conv.bias


class LogSumExp(PooledMaps):
    def add_parameters(self, r0=2.0, learned="no"):
        self.r0, self.beta = r0, torch.tensor(0.0)
        if learned != "no":
            values = torch.linspace(-1, 1, 14) if learned == "per_finding" else torch.tensor(0.3)
            self.beta = nn.Parameter(values)

    def pool(self, features, maps):
        r = (self.r0 + torch.exp(self.beta)).expand(14)[:, None, None]
        return torch.log(torch.exp(r * maps).mean((2, 3))) / r[:, 0, 0]


class Pylon(PooledMaps):
    def __init__(self, channels, stride=4, width=128, decoder="attention"):
        super().__init__(channels, stride, width, decoder)

    def pool(self, features, maps):
        return F.adaptive_max_pool2d(maps, 1).flatten(1)


class Network(nn.Module):
    """A backbone and a head; logits (B, 14) and heat maps (B, 14, h, w)."""

    def __init__(self, backbone, head):
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, images):
        return self.head(self.backbone(images, self.head.link))


BACKBONES = {
    "ResNet18": lambda blocks=(2, 2, 2, 2), **rest: ResNet(BasicBlock, blocks, **rest),
    "ResNet34": lambda blocks=(3, 4, 6, 3), **rest: ResNet(BasicBlock, blocks, **rest),
    "ResNet50": lambda blocks=(3, 4, 6, 3), **rest: ResNet(Bottleneck, blocks, **rest),
    "DenseNet121": lambda blocks=(6, 12, 24, 16), **rest: DenseNet(blocks, **rest),
}
HEADS = {
    head.__name__: head
    for head in (
        Baseline,
        SpaceAttention,
        AttentionGated,
        SqueezeExcitation,
        PCAM,
        LogSumExp,
        Pylon,
    )
}


def build(config):
    """Builds the network that `jaxcxr.models.build_classifier` builds from the same config."""
    parts = {part: dict(fields) for part, fields in config.items()}
    backbone = BACKBONES[parts["backbone"].pop("name")](**parts["backbone"])
    head = HEADS[parts["head"].pop("name")](backbone.channels, **parts["head"])
    # A dense network's transitions average pairs of cells; a ResNet's strides take the first.
    averages = isinstance(backbone, DenseNet)
    head.offsets = (0, 0.5, 1.5) if averages else (0, 0, 0)
    if hasattr(head, "pyramid"):
        head.pyramid.offset = head.offsets[1]
    head.shrink = (lambda x: F.avg_pool2d(x, 2)) if averages else (lambda x: x[:, :, ::2, ::2])
    return Network(backbone, head)


def randomize(network, seed):
    """Gives a network weights, biases and batch-norm statistics that are nowhere trivial."""
    generator = torch.Generator().manual_seed(seed)

    def uniform_(tensor, low, high):
        tensor.data.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            uniform_(module.weight, 0.5, 1.5)
            uniform_(module.bias, -0.5, 0.5)
            uniform_(module.running_mean, -0.5, 0.5)
            uniform_(module.running_var, 0.5, 2.0)
        elif hasattr(module, "weight"):
            bound = (3 / module.weight[0].numel()) ** 0.5
            uniform_(module.weight, -bound, bound)
            if module.bias is not None:
                uniform_(module.bias, -0.5, 0.5)


def state_dict(network):
    """Returns a network's state as this package exports it: torchvision's names, and ``head.``."""
    return {
        name.removeprefix("backbone."): tensor
        for name, tensor in network.state_dict().items()
        if not name.startswith(("backbone.fc.", "backbone.classifier."))
    }


def authors_network(network):
    """Returns a module with the authors' names around the layers of a network on a ResNet."""
    backbone, head, wrapped = network.backbone, network.head, nn.Module()
    wrapped.resnet = backbone
    match head:
        case Baseline():
            wrapped.resnet = nn.Sequential(*list(backbone.children())[:-2])
            wrapped.trans_pool_prediction = nn.Module()
            if isinstance(getattr(head, "transition", None), nn.Sequential):
                for name, layer in head.transition.named_children():
                    name = name.replace("deconv", "conv")
                    wrapped.trans_pool_prediction.add_module(name, layer)
            elif hasattr(head, "transition"):
                wrapped.trans_pool_prediction.conv1 = head.transition
            wrapped.trans_pool_prediction.fc = head.classifier
        case SpaceAttention():
            wrapped.resnet = nn.Sequential(*list(backbone.children())[:-2])
            wrapped.conv1 = head.conv
        case AttentionGated():
            wrapped.conv1 = head.coarse
            for number, gate in (1, head.gate2), (2, head.gate3):
                theirs = nn.Module()
                theirs.theta, theirs.phi, theirs.psi = gate.theta, gate.phi, gate.psi
                theirs.W = nn.Sequential(gate.conv, gate.bn)
                wrapped.add_module(f"ag{number}", theirs)
            wide = [g.conv.out_channels for g in (head.gate2, head.gate3)]
            wide.append(head.coarse.out_channels)
            for scale, channels in enumerate(wide, start=2):
                ours = getattr(head, f"classifier{scale}", None) or nn.Linear(channels, 14)
                wrapped.add_module(f"classifier{scale - 1}", ours)
            if hasattr(head, "classifier"):
                wrapped.classifier = head.classifier
        case SqueezeExcitation():
            for stage in range(4):
                part = getattr(head, f"stages_{stage}")
                squeeze = nn.Module()
                squeeze.fc = nn.Sequential(part.squeeze, nn.ReLU(), part.excite, nn.Sigmoid())
                wrapped.add_module(f"se{stage + 1}", squeeze)
                if hasattr(part, "downsample_conv"):
                    down = nn.Module()
                    down.down = nn.Sequential(part.downsample_conv, part.downsample_bn)
                    wrapped.add_module(f"down{stage + 1}", down)
            wrapped.conv_att = head.attention.conv
    return wrapped
