"""Make the golden files of tests/golden/imported: tiny random networks of PyTorch, what they give.

    python -m venv torch && torch/bin/pip install torch numpy
    PYTHONPATH=. torch/bin/python tests/golden/make_imported.py

The networks are written here from the papers and from the names and shapes of published weights.
With `--against FOLDER`, which holds a checkout of each authors' repository under the name of the
family, every network is compared with the authors' own code on the same weights first.

A file holds the weights by the authors' names (in float16, which holds them exactly), sizes of
pictures, and the luminance that the network gives in float64. The picture of a size is
`default_rng(height).random((height, width))` in float32; of large ones a part of the result is
kept.
"""

import argparse
import importlib.util
import json
import math
import pathlib
import sys
import types

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from keras_refocus.pictures import color

FOLDER = pathlib.Path(__file__).parent / "imported"
SIZES = ((1, 1), (37, 29))
# Above the window of NAFNet's statistics in both directions.
LARGE = (400, 392)
# Of large results.
STEP = 13


def conv(inputs, outputs, side=3, **options):
    return nn.Conv2d(inputs, outputs, side, padding=options.pop("padding", side // 2), **options)


class Residual(nn.Sequential):
    def __init__(self, channels, side=3, bias=True):
        super().__init__(
            conv(channels, channels, side, bias=bias),
            nn.ReLU(),
            conv(channels, channels, side, bias=bias),
        )

    def forward(self, x):
        return super().forward(x) + x


class Encoder(nn.Module):
    """Of DMPHN."""

    def __init__(self, widths):
        super().__init__()
        a, b, c = widths
        self.layer1, self.layer2, self.layer3 = conv(3, a), Residual(a), Residual(a)
        self.layer5, self.layer6, self.layer7 = conv(a, b, stride=2), Residual(b), Residual(b)
        self.layer9, self.layer10, self.layer11 = conv(b, c, stride=2), Residual(c), Residual(c)

    def forward(self, x):
        for layer in self.children():
            x = layer(x)
        return x


class Decoder(nn.Module):
    """Of DMPHN."""

    def __init__(self, widths):
        super().__init__()
        a, b, c = widths
        self.layer13, self.layer14 = Residual(c), Residual(c)
        self.layer16 = nn.ConvTranspose2d(c, b, 4, 2, 1)
        self.layer17, self.layer18 = Residual(b), Residual(b)
        self.layer20 = nn.ConvTranspose2d(b, a, 4, 2, 1)
        self.layer21, self.layer22 = Residual(a), Residual(a)
        self.layer24 = conv(a, 3)

    def forward(self, x):
        for layer in self.children():
            x = layer(x)
        return x


def halves(x, dim):
    return x.split(x.shape[dim] // 2, dim)


class DMPHN(nn.Module):
    """Levels are lists of patches; each level's patches are halves of those of the one before."""

    def __init__(self, widths, stacks, levels=3):
        super().__init__()
        self.stacks, self.levels = stacks, levels
        for stack in range(1, stacks + 1):
            for level in range(1, levels + 1):
                name = f"s{stack}_lv{level}" if stacks > 1 else f"lv{level}"
                self.add_module(f"encoder_{name}", Encoder(widths))
                self.add_module(f"decoder_{name}", Decoder(widths))

    def parts(self, stack, level):
        name = f"s{stack}_lv{level}" if self.stacks > 1 else f"lv{level}"
        return getattr(self, f"encoder_{name}"), getattr(self, f"decoder_{name}")

    def forward(self, picture):
        height, width = picture.shape[2:]
        multiple = 4 * 2 ** (self.levels // 2)
        x = (
            functional.pad(picture, (0, -width % multiple, 0, -height % multiple), mode="replicate")
            - 0.5
        )
        before, first = {}, None
        for stack in range(1, self.stacks + 1):
            patches = [[x]]
            for level in range(2, self.levels + 1):
                dim = 2 if level % 2 == 0 else 3
                patches.append([half for patch in patches[-1] for half in halves(patch, dim)])
            decoded, deeper, features = None, None, {}
            for level in range(self.levels, 0, -1):
                encoder, decoder = self.parts(stack, level)
                seen = patches[level - 1]
                if decoded is not None:
                    seen = [patch + part for patch, part in zip(seen, decoded, strict=True)]
                found = [encoder(patch) for patch in seen]
                if deeper is not None:
                    found = [mine + theirs for mine, theirs in zip(found, deeper, strict=True)]
                if level > 1:
                    dim = 2 if level % 2 == 0 else 3
                    pairs = zip(found[::2], found[1::2], strict=True)
                    found = [torch.cat(pair, dim) for pair in pairs]
                if level in before:
                    found = [mine + old for mine, old in zip(found, before[level], strict=True)]
                features[level] = deeper = found
                decoded = [decoder(part) for part in found]
                if level == 2 and first is not None:
                    decoded = [decoded[0] + first]
            x = decoded[0]
            first = x if first is None else first
            before = features
        return (x + 0.5)[..., :height, :width]


class ChannelNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        deviations = x - x.mean(1, keepdim=True)
        x = deviations / (deviations.square().mean(1, keepdim=True) + 1e-6).sqrt()
        return x * self.weight[:, None, None] + self.bias[:, None, None]


def window_mean(x, window):
    """Means of windows inside the map; beyond the first and last one they are repeated."""
    height, width = x.shape[2:]
    rows, columns = min(window, height), min(window, width)
    mean = functional.avg_pool2d(x, (rows, columns), 1)
    pad = ((columns - 1) // 2, columns // 2, (rows - 1) // 2, rows // 2)
    return functional.pad(mean, pad, mode="replicate")


class NAFBlock(nn.Module):
    def __init__(self, channels, window):
        super().__init__()
        self.window = window
        self.norm1, self.norm2 = ChannelNorm(channels), ChannelNorm(channels)
        self.conv1 = conv(channels, 2 * channels, 1)
        self.conv2 = conv(2 * channels, 2 * channels, groups=2 * channels)
        self.sca = nn.Sequential(nn.Identity(), conv(channels, channels, 1))
        self.conv3 = conv(channels, channels, 1)
        self.conv4 = conv(channels, 2 * channels, 1)
        self.conv5 = conv(channels, channels, 1)
        self.beta = nn.Parameter(torch.randn(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.randn(1, channels, 1, 1))

    def forward(self, x):
        first, second = self.conv2(self.conv1(self.norm1(x))).chunk(2, 1)
        y = first * second
        x = x + self.beta * self.conv3(y * self.sca(window_mean(y, self.window)))
        first, second = self.conv4(self.norm2(x)).chunk(2, 1)
        return x + self.gamma * self.conv5(first * second)


class NAFNet(nn.Module):
    def __init__(self, width, encoder, middle, decoder):
        super().__init__()
        scales = len(encoder)

        def blocks(count, scale):
            return nn.Sequential(*(NAFBlock(width << scale, 384 >> scale) for _ in range(count)))

        self.scales = scales
        self.intro, self.ending = conv(3, width), conv(width, 3)
        self.encoders = nn.ModuleList(blocks(count, scale) for scale, count in enumerate(encoder))
        self.downs = nn.ModuleList(
            nn.Conv2d(width << scale, width << scale + 1, 2, 2) for scale in range(scales)
        )
        self.middle_blks = blocks(middle, scales)
        coarse_to_fine = list(zip(reversed(range(scales)), decoder, strict=True))
        self.ups = nn.ModuleList(
            nn.Sequential(
                conv(width << scale + 1, width << scale + 2, 1, bias=False), nn.PixelShuffle(2)
            )
            for scale, _ in coarse_to_fine
        )
        self.decoders = nn.ModuleList(blocks(count, scale) for scale, count in coarse_to_fine)

    def forward(self, picture):
        height, width = picture.shape[2:]
        multiple = 2**self.scales
        padded = functional.pad(picture, (0, -width % multiple, 0, -height % multiple))
        x, maps = self.intro(padded), []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            maps.append(encoder(x))
            x = down(maps[-1])
        x = self.middle_blks(x)
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            x = decoder(up(x) + maps.pop())
        return (self.ending(x) + padded)[..., :height, :width]


class DnCNN(nn.Module):
    def __init__(self, width, depth, *, normalized):
        super().__init__()
        layers = [conv(1, width), nn.ReLU()]
        for _ in range(depth - 2):
            layers.append(conv(width, width))
            layers += [nn.BatchNorm2d(width, eps=1e-4)] if normalized else []
            layers.append(nn.ReLU())
        self.model = nn.Sequential(*layers, conv(width, 1))

    def forward(self, x):
        return x - self.model(x)


class UNetResidual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.res = nn.Sequential(
            conv(channels, channels, bias=False), nn.ReLU(), conv(channels, channels, bias=False)
        )

    def forward(self, x):
        return x + self.res(x)


class DRUNet(nn.Module):
    def __init__(self, widths, depth, noise):
        super().__init__()
        self.noise, self.scales = noise, len(widths) - 1

        def residuals(channels):
            return [UNetResidual(channels) for _ in range(depth)]

        self.m_head = conv(2, widths[0], bias=False)
        for scale, (fine, coarse) in enumerate(zip(widths, widths[1:], strict=False), 1):
            down = nn.Conv2d(fine, coarse, 2, 2, bias=False)
            up = nn.ConvTranspose2d(coarse, fine, 2, 2, bias=False)
            self.add_module(f"m_down{scale}", nn.Sequential(*residuals(fine), down))
            self.add_module(f"m_up{scale}", nn.Sequential(up, *residuals(fine)))
        self.m_body = nn.Sequential(*residuals(widths[-1]))
        self.m_tail = conv(widths[0], 1, bias=False)

    def forward(self, picture):
        height, width = picture.shape[2:]
        multiple = 2**self.scales
        x = functional.pad(picture, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        maps = [self.m_head(torch.cat([x, torch.full_like(x, self.noise / 255)], 1))]
        for scale in range(1, self.scales + 1):
            maps.append(getattr(self, f"m_down{scale}")(maps[-1]))
        x = self.m_body(maps[-1])
        for scale in range(self.scales, 0, -1):
            x = getattr(self, f"m_up{scale}")(x + maps[scale])
        return self.m_tail(x + maps[0])[..., :height, :width]


class InstanceNorm(nn.Module):
    """Also of maps of one pixel, which PyTorch's own refuses."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        deviations = x - x.mean((2, 3), keepdim=True)
        x = deviations / (deviations.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class HINBlock(nn.Module):
    def __init__(self, inputs, channels, *, halve=False, normalized=False, fused=False):
        super().__init__()
        self.identity = conv(inputs, channels, 1)
        self.conv_1, self.conv_2 = conv(inputs, channels), conv(channels, channels)
        if fused:
            self.csff_enc, self.csff_dec = conv(channels, channels), conv(channels, channels)
        self.norm = InstanceNorm(channels // 2) if normalized else None
        self.downsample = nn.Conv2d(channels, channels, 4, 2, 1, bias=False) if halve else None

    def forward(self, x, encoded=None, decoded=None):
        y = self.conv_1(x)
        if self.norm is not None:
            first, second = y.chunk(2, 1)
            y = torch.cat([self.norm(first), second], 1)
        y = functional.leaky_relu(self.conv_2(functional.leaky_relu(y, 0.2)), 0.2)
        y = y + self.identity(x)
        if encoded is not None:
            y = y + self.csff_enc(encoded) + self.csff_dec(decoded)
        return y


class HINUp(nn.Module):
    def __init__(self, inputs, channels):
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, channels, 2, 2)
        self.conv_block = HINBlock(2 * channels, channels)

    def forward(self, x, bridge):
        return self.conv_block(torch.cat([self.up(x), bridge], 1))


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = conv(width, width), conv(width, 3), conv(3, width)


class HINet(nn.Module):
    def __init__(self, width, depth, normalized):
        super().__init__()
        self.depth = depth
        for stage in (1, 2):
            self.add_module(f"conv_0{stage}", conv(3, width))
            down, up, skip, inputs = nn.ModuleList(), nn.ModuleList(), nn.ModuleList(), width
            for scale in range(depth):
                halve = scale < depth - 1
                down.append(
                    HINBlock(
                        inputs,
                        width << scale,
                        halve=halve,
                        normalized=scale in normalized,
                        fused=halve and stage == 2,
                    )
                )
                inputs = width << scale
            for scale in reversed(range(depth - 1)):
                up.append(HINUp(width << scale + 1, width << scale))
                skip.append(conv(width << scale, width << scale))
            self.add_module(f"down_path_{stage}", down)
            self.add_module(f"up_path_{stage}", up)
            self.add_module(f"skip_conv_{stage}", skip)
        self.sam12, self.cat12 = Attention(width), conv(2 * width, width, 1)
        self.last = conv(width, 3)

    def stage(self, x, number, before=None):
        encoded, decoded = [], {}
        for scale, block in enumerate(getattr(self, f"down_path_{number}")):
            fused = [maps[scale] for maps in before] if before and block.downsample else []
            x = block(x, *fused)
            if block.downsample is not None:
                encoded.append(x)
                x = block.downsample(x)
        steps = zip(
            getattr(self, f"up_path_{number}"), getattr(self, f"skip_conv_{number}"), strict=True
        )
        for scale, (up, skip) in zip(reversed(range(self.depth - 1)), steps, strict=True):
            x = decoded[scale] = up(x, skip(encoded[scale]))
        return x, encoded, decoded

    def forward(self, picture):
        height, width = picture.shape[2:]
        multiple = 2 ** (self.depth - 1)
        padded = functional.pad(
            picture, (0, -width % multiple, 0, -height % multiple), mode="replicate"
        )
        x, encoded, decoded = self.stage(self.conv_01(padded), 1)
        attention = self.sam12
        weights = torch.sigmoid(attention.conv3(attention.conv2(x) + padded))
        features = attention.conv1(x) * weights + x
        y = self.cat12(torch.cat([self.conv_02(padded), features], 1))
        y, _, _ = self.stage(y, 2, (encoded, decoded))
        return (self.last(y) + padded)[..., :height, :width]


def same_conv(x, layer, stride):
    """Convolution padded as TensorFlow does: the odd zero comes after the picture."""
    side = layer.kernel_size[0]
    before = (side - stride) // 2
    after = side - stride - before
    padded = functional.pad(x, (before, after, before, after))
    return functional.conv2d(padded, layer.weight, layer.bias, stride)


def from_corner(x):
    """Twice as large: old pixels at even places, means of two between, the last one repeated."""
    for dim in (2, 3):
        last = x.narrow(dim, x.shape[dim] - 1, 1)
        following = torch.cat([x.narrow(dim, 1, x.shape[dim] - 1), last], dim)
        x = torch.stack([x, (x + following) / 2], dim + 1).flatten(dim, dim + 1)
    return x


class SRN(nn.Module):
    """Modules have the names of the authors' variables, `/` as `-`."""

    def __init__(self, widths, depth, channels, *, recurrent, side=5):
        super().__init__()
        self.widths, self.depth, self.recurrent = widths, depth, recurrent
        inputs = 2 * channels
        for scale, width in enumerate(widths, 1):
            self.add_module(f"enc{scale}_1", nn.Conv2d(inputs, width, side))
            if scale > 1:
                up = nn.ConvTranspose2d(width, inputs, 4, 2, 1)
                self.add_module(f"dec{scale - 1}_{depth + 1}", up)
            for block in range(depth):
                for name in (f"enc{scale}_{block + 2}", f"dec{scale}_{block + 1}"):
                    for number in (1, 2):
                        layer = nn.Conv2d(width, width, side)
                        self.add_module(f"{name}-conv{number}", layer)
            inputs = width
        self.dec1_0 = nn.Conv2d(widths[0], channels, side)
        if recurrent:
            gates = nn.Conv2d(2 * widths[-1], 4 * widths[-1], 3)
            self.add_module("convLSTM-LSTM_conv", gates)

    def settle(self):
        # The picture is painted anew, around the middle of its range.
        self.dec1_0.bias.add_(0.5)

    def published(self):
        kinds = {"weight": "weights", "bias": "biases"}
        for name, value in self.state_dict().items():
            module, kind = name.rsplit(".", 1)
            if value.dim() == 4:
                value = value.permute(2, 3, 1, 0)
            yield f"g_net/{module.replace('-', '/')}/{kinds[kind]}", value.numpy()

    def layer(self, x, name, *, stride=1):
        return same_conv(x, self.get_submodule(name), stride)

    def block(self, x, name):
        return x + self.layer(torch.relu(self.layer(x, f"{name}-conv1")), f"{name}-conv2")

    def forward(self, picture):
        height, width = picture.shape[2:]
        pad = (0, -width % 16, 0, -height % 16)
        padded = functional.pad(picture, pad, mode="replicate")
        result, memory, hidden = padded[..., ::4, ::4], None, None
        for scale in (4, 2, 1):
            if scale < 4:
                result = from_corner(result)
            x, maps = torch.cat([padded[..., ::scale, ::scale], result], 1), {}
            for level in (1, 2, 3):
                x = torch.relu(self.layer(x, f"enc{level}_1", stride=1 if level == 1 else 2))
                for block in range(self.depth):
                    x = self.block(x, f"enc{level}_{block + 2}")
                maps[level] = x
            if self.recurrent:
                if memory is None:
                    memory, hidden = torch.zeros_like(x), torch.zeros_like(x)
                else:
                    memory, hidden = from_corner(memory), from_corner(hidden)
                gates = self.layer(torch.cat([x, hidden], 1), "convLSTM-LSTM_conv")
                enter, new, forget, leave = gates.chunk(4, 1)
                memory = memory * torch.sigmoid(forget + 1) + torch.sigmoid(enter) * new.tanh()
                x = hidden = memory.tanh() * torch.sigmoid(leave)
            for level in (3, 2, 1):
                for block in reversed(range(self.depth)):
                    x = self.block(x, f"dec{level}_{block + 1}")
                if level > 1:
                    up = self.get_submodule(f"dec{level - 1}_{self.depth + 1}")
                    x = torch.relu(up(x)) + maps[level - 1]
            result = self.layer(x, "dec1_0")
        return result[..., :height, :width]


def gaussian_half(x):
    """The next level of the Gaussian pyramid of scikit-image: sigma 2/3, mirrored, 2x2 means."""
    places = torch.arange(-3, 4, dtype=x.dtype)
    gauss = torch.exp(-0.5 * (places * 1.5) ** 2)
    gauss = gauss / gauss.sum()
    for dim in (2, 3):
        length = x.shape[dim]
        total = 0
        for weight, offset in zip(gauss, range(-3, 4), strict=True):
            index = (torch.arange(length) + offset) % (2 * length)
            total = total + weight * x.index_select(
                dim, torch.minimum(index, 2 * length - 1 - index)
            )
        x = total
    return functional.avg_pool2d(x, 2)


class ScaleResidual(nn.Module):
    def __init__(self, width, side):
        super().__init__()
        self.body = nn.Sequential(conv(width, width, side), nn.ReLU(), conv(width, width, side))

    def forward(self, x):
        return x + self.body(x)


class ScaleBody(nn.Module):
    def __init__(self, inputs, width, residuals, side):
        super().__init__()
        blocks = (ScaleResidual(width, side) for _ in range(residuals))
        self.body = nn.Sequential(conv(inputs, width, side), *blocks, conv(width, 3, side))


class ScaleUp(nn.Module):
    def __init__(self, side):
        super().__init__()
        self.uppath = nn.Sequential(conv(3, 12, side), nn.PixelShuffle(2))


class DeepDeblur(nn.Module):
    def __init__(self, width, residuals, scales, side=5):
        super().__init__()
        self.scales = scales
        inputs = [6] * (scales - 1) + [3]
        bodies = (ScaleBody(count, width, residuals, side) for count in inputs)
        self.body_models = nn.ModuleList(bodies)
        ups = (ScaleUp(side) if scale else None for scale in range(scales))
        self.conv_end_models = nn.ModuleList(ups)

    def pyramid(self, picture):
        pictures = [255 * picture]
        for _ in range(self.scales - 1):
            pictures.append(gaussian_half(pictures[-1]))
        return pictures

    def forward(self, picture):
        height, width = picture.shape[2:]
        multiple = 2 ** (self.scales - 1)
        pad = (0, -width % multiple, 0, -height % multiple)
        pictures = self.pyramid(functional.pad(picture, pad, mode="replicate"))
        result = None
        for scale in reversed(range(self.scales)):
            x = pictures[scale] - 127.5
            if result is not None:
                x = torch.cat([x, self.conv_end_models[scale + 1].uppath(result)], 1)
            result = self.body_models[scale].body(x)
        return (result + 127.5)[..., :height, :width] / 255


def stage(inputs, width, depth, *, dilation=1, stride=1, begin=()):
    """Convolutions with a ReLU each, and a normalisation."""
    layers = list(begin)
    for index in range(depth):
        step = stride if index == depth - 1 else 1
        layers += [
            nn.Conv2d(inputs, width, 3, step, padding=dilation, dilation=dilation),
            nn.ReLU(),
        ]
        inputs = width
    return nn.Sequential(*layers, nn.BatchNorm2d(width))


class Colorizer(nn.Module):
    """Chroma of luminance; what two of Zhang's colorizers have in common."""

    def __init__(self, inputs, widths, *, strided):
        super().__init__()
        a, b, c, d = widths
        stride = 2 if strided else 1
        self.model1, self.model2 = (
            stage(inputs, a, 2, stride=stride),
            stage(a, b, 2, stride=stride),
        )
        self.model3, self.model4 = stage(b, c, 3, stride=stride), stage(c, d, 3)
        self.model5, self.model6 = stage(d, d, 3, dilation=2), stage(d, d, 3, dilation=2)
        self.model7 = stage(d, d, 3)

    def settle(self):
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.add_(0.9)

    def forward(self, luminance):
        height, width = luminance.shape[2:]
        pad = (0, -width % 8, 0, -height % 8)
        chroma = self.color(functional.pad(luminance, pad, mode="replicate") - 0.5)
        return chroma[..., :height, :width]


class ECCV16(Colorizer):
    def __init__(self, widths, classes):
        super().__init__(1, widths, strided=True)
        _, _, c, d = widths
        up = nn.ConvTranspose2d(d, c, 4, 2, 1)
        between = [up, nn.ReLU(), conv(c, c), nn.ReLU(), conv(c, c), nn.ReLU()]
        self.model8 = nn.Sequential(*between, conv(c, classes, 1))
        self.model_out = nn.Conv2d(classes, 2, 1, bias=False)

    def color(self, x):
        for number in range(1, 9):
            x = self.get_submodule(f"model{number}")(x)
        return functional.interpolate(self.model_out(x.softmax(1)), scale_factor=4, mode="bilinear")


class SIGGRAPH17(Colorizer):
    def __init__(self, widths, classes):
        super().__init__(4, widths, strided=False)
        a, b, c, d = widths
        for number, coarse, fine, beside in ((8, d, c, c), (9, c, b, b), (10, b, b, a)):
            up = nn.Sequential(nn.ConvTranspose2d(coarse, fine, 4, 2, 1))
            self.add_module(f"model{number}up", up)
            short = nn.Sequential(conv(beside, fine))
            self.add_module(f"model{11 - number}short{number}", short)
        self.model8 = stage(c, c, 2, begin=[nn.ReLU()])
        self.model9 = stage(b, b, 1, begin=[nn.ReLU()])
        self.model10 = nn.Sequential(nn.ReLU(), conv(b, b), nn.LeakyReLU(0.2))
        self.model_class = nn.Sequential(conv(c, classes, 1))
        self.model_out = nn.Sequential(conv(b, 2, 1), nn.Tanh())

    def color(self, x):
        x, maps = torch.cat([x, torch.zeros_like(x).expand(-1, 3, -1, -1)], 1), {}
        for number in (1, 2, 3):
            maps[number] = self.get_submodule(f"model{number}")(x)
            x = maps[number][..., ::2, ::2]
        for number in (4, 5, 6, 7):
            x = self.get_submodule(f"model{number}")(x)
        for number in (8, 9, 10):
            beside = self.get_submodule(f"model{11 - number}short{number}")
            x = self.get_submodule(f"model{number}up")(x) + beside(maps[11 - number])
            x = self.get_submodule(f"model{number}")(x)
        return self.model_out(x)


def spectral(*arguments, **options):
    return nn.utils.spectral_norm(nn.Conv2d(*arguments, **options))


class PixelNorm(nn.LayerNorm):
    """Over the channels of each pixel."""

    def __init__(self, channels):
        super().__init__(channels, eps=1e-6)

    def forward(self, x):
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class ConvNeXtBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.dwconv = conv(width, width, 7, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pwconv1, self.pwconv2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        y = self.norm(self.dwconv(x).movedim(1, -1))
        return x + (self.gamma * self.pwconv2(functional.gelu(self.pwconv1(y)))).movedim(-1, 1)


class ConvNeXt(nn.Module):
    """Normalised maps of its four stages."""

    def __init__(self, depths, widths):
        super().__init__()
        downs = [nn.Sequential(nn.Conv2d(3, widths[0], 4, 4), PixelNorm(widths[0]))]
        downs += [
            nn.Sequential(PixelNorm(a), nn.Conv2d(a, b, 2, 2))
            for a, b in zip(widths, widths[1:], strict=False)
        ]
        self.downsample_layers = nn.ModuleList(downs)
        self.stages = nn.ModuleList(
            nn.Sequential(*(ConvNeXtBlock(width) for _ in range(depth)))
            for depth, width in zip(depths, widths, strict=True)
        )
        for stage, width in enumerate(widths):
            self.add_module(f"norm{stage}", PixelNorm(width))
        # Of the classifier; nothing here looks at it.
        self.norm = nn.LayerNorm(widths[-1], eps=1e-6)

    def forward(self, x):
        maps = []
        for stage, (down, blocks) in enumerate(
            zip(self.downsample_layers, self.stages, strict=True)
        ):
            x = blocks(down(x))
            maps.append(self.get_submodule(f"norm{stage}")(x))
        return maps


class Shuffle(nn.Module):
    """Depth to space, and the mean of 2x2 that ends at each pixel."""

    def __init__(self, inputs, outputs, factor, *, normalized):
        super().__init__()
        convolution = spectral(inputs, outputs * factor**2, 1, bias=not normalized)
        more = [nn.BatchNorm2d(outputs * factor**2)] if normalized else []
        self.conv, self.factor = nn.Sequential(convolution, *more), factor

    def forward(self, x):
        x = functional.pixel_shuffle(self.conv(x).relu(), self.factor)
        return functional.avg_pool2d(functional.pad(x, (1, 0, 1, 0), mode="replicate"), 2, 1)


class Widen(nn.Module):
    """A step of the pixel decoder."""

    def __init__(self, inputs, beside, outputs):
        super().__init__()
        self.shuf = Shuffle(inputs, outputs, 2, normalized=True)
        self.bn = nn.BatchNorm2d(beside)
        self.conv = nn.Sequential(
            spectral(outputs + beside, outputs, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x, beside):
        return self.conv(torch.cat([self.shuf(x), self.bn(beside)], 1).relu())


class Looking(nn.Module):
    """Attention of colours, and what they were."""

    def __init__(self, width, name):
        super().__init__()
        self.add_module(name, nn.MultiheadAttention(width, 8, batch_first=True))
        self.norm, self.name = nn.LayerNorm(width), name

    def forward(self, x, query, key, value):
        attention = self.get_submodule(self.name)
        return self.norm(x + attention(query, key, value, need_weights=False)[0])


class FeedForward(nn.Module):
    def __init__(self, width, between):
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(width, between), nn.Linear(between, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x):
        return self.norm(x + self.linear2(self.linear1(x).relu()))


def waves(x, channels):
    """Where a pixel is, in sines and cosines: `(pixels, channels)`."""
    index = torch.arange(channels // 2)
    periods = 10000 ** (2 * (index // 2) / len(index)).double()
    rows, columns = (
        2 * math.pi * torch.arange(1, side + 1).double() / (side + 1e-6) for side in x.shape[2:]
    )
    places = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).flatten(0, 1)
    angles = places[:, :, None] / periods
    return torch.where(index % 2 == 0, angles.sin(), angles.cos()).flatten(1)


class Colors(nn.Module):
    """The colour decoder: a vector for each learned colour."""

    def __init__(self, inputs, count, width, layers, between, outputs):
        super().__init__()
        self.width = width
        self.transformer_self_attention_layers = nn.ModuleList(
            Looking(width, "self_attn") for _ in range(layers)
        )
        self.transformer_cross_attention_layers = nn.ModuleList(
            Looking(width, "multihead_attn") for _ in range(layers)
        )
        self.transformer_ffn_layers = nn.ModuleList(
            FeedForward(width, between) for _ in range(layers)
        )
        self.decoder_norm = nn.LayerNorm(width)
        self.query_feat, self.query_embed = nn.Embedding(count, width), nn.Embedding(count, width)
        self.level_embed = nn.Embedding(3, width)
        self.input_proj = nn.ModuleList(nn.Conv2d(each, width, 1) for each in inputs)
        self.color_embed = nn.Module()
        self.color_embed.layers = nn.ModuleList(
            nn.Linear(width, wide) for wide in (width, width, outputs)
        )

    def forward(self, maps):
        sources = []
        for level, (project, x) in enumerate(zip(self.input_proj, maps, strict=True)):
            value = project(x).flatten(2).mT + self.level_embed.weight[level]
            sources.append((value + waves(x, self.width), value))
        x, own = self.query_feat.weight[None], self.query_embed.weight
        for layer, feed in enumerate(self.transformer_ffn_layers):
            cross = self.transformer_cross_attention_layers[layer]
            x = cross(x, x + own, *sources[layer % 3])
            x = self.transformer_self_attention_layers[layer](x, x + own, x + own, x)
            x = feed(x)
        first, second, last = self.color_embed.layers
        return last(second(first(self.decoder_norm(x)).relu()).relu())


class DDColor(nn.Module):
    def __init__(self, depths, widths, decoder, colors, width, layers, between):
        super().__init__()
        self.encoder, self.decoder = nn.Module(), nn.Module()
        self.encoder.arch = ConvNeXt(depths, widths)
        steps = (decoder, decoder, decoder // 2)
        self.decoder.layers = nn.ModuleList(
            Widen(inputs, beside, outputs)
            for inputs, beside, outputs in zip(
                (widths[3], decoder, decoder), widths[2::-1], steps, strict=True
            )
        )
        self.decoder.last_shuf = Shuffle(steps[2], steps[2], 4, normalized=False)
        self.decoder.color_decoder = Colors(steps, colors, width, layers, between, steps[2])
        self.refine_net = nn.Sequential(nn.Sequential(spectral(colors + 3, 2, 1)))
        self.register_buffer("mean", torch.zeros(1, 3, 1, 1))
        self.register_buffer("std", torch.zeros(1, 3, 1, 1))

    def settle(self):
        self.mean.copy_(torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1))
        self.std.copy_(torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1))
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d | PixelNorm):
                module.weight.clamp_(-0.4, 0.4).add_(0.9)
            if hasattr(module, "weight_orig"):
                left, _, right = torch.linalg.svd(module.weight_orig.flatten(1))
                module.weight_u.copy_(left[:, 0])
                module.weight_v.copy_(right[0])
        # Chroma is a hundredth of a* and b*.
        self.refine_net[0][0].bias.mul_(200)

    @staticmethod
    def gray(luminance):
        found = color.luminance_to_gray(luminance.numpy().astype("float32"))
        return torch.from_numpy(found.astype("float64")).expand(-1, 3, -1, -1)

    def forward(self, luminance):
        height, width = luminance.shape[2:]
        pad = (0, -width % 32, 0, -height % 32)
        x = self.gray(functional.pad(luminance, pad, mode="replicate"))
        x = (x - self.mean) / self.std
        *maps, y = self.encoder.arch(x)
        found = []
        for step, beside in zip(self.decoder.layers, maps[::-1], strict=True):
            y = step(y, beside)
            found.append(y)
        vectors = self.decoder.color_decoder(found)
        shares = torch.einsum("nqc,nchw->nqhw", vectors, self.decoder.last_shuf(y))
        chroma = self.refine_net(torch.cat([shares, x], 1)) / 110
        return chroma[..., :height, :width]


NETWORKS = {
    "nafnet": (lambda: NAFNet(2, (1, 2), 1, (2, 1)), 3),
    "dmphn": (lambda: DMPHN((2, 3, 4), 1), 3),
    "dmphn_stacked": (lambda: DMPHN((2, 2, 3), 2), 3),
    "dmphn_1_2_4_8": (lambda: DMPHN((2, 2, 3), 1, levels=4), 3),
    "dncnn": (lambda: DnCNN(6, 5, normalized=False), 1),
    "dncnn_normalized": (lambda: DnCNN(6, 5, normalized=True), 1),
    "drunet": (lambda: DRUNet((3, 4, 5, 6), 2, noise=25), 1),
    "hinet": (lambda: HINet(2, 3, (0, 2)), 3),
    "srn_gray": (lambda: SRN((2, 3, 4), 2, 1, recurrent=False), 1),
    "srn_lstm": (lambda: SRN((2, 3, 4), 1, 1, recurrent=True), 1),
    "srn_color": (lambda: SRN((2, 3, 3), 1, 3, recurrent=False), 3),
    "deepdeblur": (lambda: DeepDeblur(3, 2, 3), 3),
    "eccv16": (lambda: ECCV16((2, 3, 4, 4), 5), 0),
    "siggraph17": (lambda: SIGGRAPH17((2, 3, 4, 4), 5), 0),
    "ddcolor": (lambda: DDColor((1, 2, 1, 1), (2, 3, 4, 5), 6, 5, 16, 4, 7), 0),
}


# Last layers give little, or the results would lie outside the range, where they are clipped.
CALM = {
    "layer24.weight": 0.1,
    "ending.weight": 0.1,
    "last.weight": 0.1,
    "sam12.conv2.weight": 0.1,
    "m_tail.weight": 0.02,
    "dec1_0.weight": 0.3,
    "body.3.weight": 0.2,
    "model.8.weight": 0.2,
    "model.11.weight": 0.2,
    "beta": 0.5,
    "gamma": 0.5,
}


def randomise(network):
    """Weights that float16 holds, with statistics as after a training."""
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        if name.endswith("running_var"):
            tensor.uniform_(0.2, 0.6)
        elif tensor.dim() == 1:
            # Scales of normalisations are about one, offsets about zero.
            tensor.copy_(
                0.1 * torch.randn_like(tensor)
                + (0.9 if "norm" in name and name.endswith("weight") else 0.0)
            )
        elif tensor.dim() == 4 and tensor[0].numel() > 1:
            tensor.copy_(torch.randn_like(tensor) / math.sqrt(tensor[0].numel()))
        for ending, factor in CALM.items():
            if name.endswith(ending) and tensor.dim() == 4:
                tensor.mul_(factor)
        tensor.copy_(tensor.half().double())
    if hasattr(network, "settle"):
        network.settle()
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half().double())


def luminance_of(network, channels, size):
    luminance = np.random.default_rng(size[0]).random(size, np.float32)
    if not channels:
        with torch.no_grad():
            chroma = network(torch.from_numpy(luminance.astype("float64"))[None, None])[0]
        print(f"{size}: chroma up to {float(chroma.abs().max()):.2f}")
        return chroma.permute(1, 2, 0).numpy().astype("float32")
    gray = torch.from_numpy(color.luminance_to_gray(luminance).astype("float64"))
    with torch.no_grad():
        result = network(gray.expand(1, channels, *size))[0]
    inside = float(((result > 0) & (result < 1)).double().mean())
    print(f"{size}: {inside:.0%} inside the range, spread {float(result.std(correction=0)):.3f}")
    result = result.clamp(0, 1)
    result = result.permute(1, 2, 0).numpy().astype("float32")
    found = color.rgb_to_luminance(result) if channels == 3 else color.gray_to_luminance(result)
    return found[..., 0]


def write(name):
    make, channels = NETWORKS[name]
    torch.manual_seed(list(NETWORKS).index(name))
    network = make().double().eval()
    with torch.no_grad():
        randomise(network)
    named = getattr(network, "published", None)
    state = (
        dict(named())
        if named
        else {key: value.numpy() for key, value in network.state_dict().items()}
    )
    sizes = (*SIZES, LARGE) if name == "nafnet" else SIZES
    results = {}
    for index, size in enumerate(sizes):
        result = luminance_of(network, channels, size)
        results[f"result{index}"] = result[::STEP, ::STEP] if size == LARGE else result
    np.savez_compressed(
        FOLDER / f"{name}.npz",
        names=json.dumps({key: value.shape for key, value in state.items()}),
        weights=np.concatenate([value.ravel() for value in state.values()]).astype("float16"),
        sizes=sizes,
        **results,
    )
    return network


def write_files():
    """The two formats of PyTorch, with tensors of several kinds and strides."""
    torch.manual_seed(0)
    base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    state = {
        "weight": base,
        "transposed": base.permute(2, 0, 1),
        "part": base[1, 1:, :3],
        "half": torch.tensor([0.5, -2.0], dtype=torch.float16),
        "rough": torch.tensor([1.5, -3.0], dtype=torch.bfloat16),
        "double": torch.tensor([0.1], dtype=torch.float64),
        "count": torch.tensor(7),
        "parameter": nn.Parameter(torch.tensor([[1.0], [2.0]])),
    }
    checkpoint = {"state_dict": {f"module.{name}": value for name, value in state.items()}}
    checkpoint |= {"epoch": 3, "optimizer": {"lr": 0.1, "momentum": torch.zeros(2)}}
    torch.save(checkpoint, FOLDER / "old.pth", _use_new_zipfile_serialization=False)
    torch.save(checkpoint, FOLDER / "new.pth")


def authors_network(name, folder):
    """The authors' network for the weights of ours, as a callable on padded pictures; or `None`."""
    sys.dont_write_bytecode = True

    def module(path, as_name):
        specification = importlib.util.spec_from_file_location(as_name, path)
        found = importlib.util.module_from_spec(specification)
        sys.modules[as_name] = found
        specification.loader.exec_module(found)
        return found

    def package(as_name):
        sys.modules[as_name] = types.ModuleType(as_name)

    if name == "nafnet":
        for part in ("basicsr", "basicsr.models", "basicsr.models.archs"):
            package(part)
        norm = types.ModuleType("basicsr.models.archs.arch_util")
        norm.LayerNorm2d = ChannelNorm
        sys.modules["basicsr.models.archs.arch_util"] = norm
        archs = folder / "nafnet/basicsr/models/archs"
        module(archs / "local_arch.py", "basicsr.models.archs.local_arch")
        found = module(archs / "NAFNet_arch.py", "nafnet_arch")
        return found.NAFNetLocal(
            img_channel=3, width=2, middle_blk_num=1, enc_blk_nums=[1, 2], dec_blk_nums=[2, 1]
        )
    if name.startswith(("dncnn", "drunet")):
        package("models")
        module(folder / "kair/models/basicblock.py", "models.basicblock")
        sys.modules["models"].basicblock = sys.modules["models.basicblock"]
        if name == "drunet":
            found = module(folder / "kair/models/network_unet.py", "unet")
            return found.UNetRes(2, 1, [3, 4, 5, 6], nb=2, bias=False)
        found = module(folder / "kair/models/network_dncnn.py", "dncnn")
        return found.DnCNN(1, 1, 6, 5, act_mode="BR" if name.endswith("normalized") else "R")
    if name == "hinet":
        found = module(folder / "hinet/basicsr/models/archs/hinet_arch.py", "hinet_arch")
        network = found.HINet(wf=2, depth=3)
        for stage in (1, 2):
            block = getattr(network, f"down_path_{stage}")[1]
            block.use_HIN = False
            del block.norm
        return network
    if name == "deepdeblur":
        package("deepdeblur")
        for part in ("common", "ResNet", "MSResNet"):
            found = module(folder / f"deepdeblur/src/model/{part}.py", f"deepdeblur.{part}")
            setattr(sys.modules["deepdeblur"], part, found)
        options = {"n_resblocks": 2, "n_feats": 3, "kernel_size": 5, "n_scales": 3}
        return found.MSResNet(types.SimpleNamespace(rgb_range=255, **options))
    if name in ("eccv16", "siggraph17"):
        package("colorizers")
        module(folder / "colorization/colorizers/base_color.py", "colorizers.base_color")
        found = module(folder / f"colorization/colorizers/{name}.py", f"colorizers.{name}")
        return found.ECCVGenerator() if name == "eccv16" else found.SIGGRAPHGenerator()
    if name == "ddcolor":
        for part in ("basicsr", "basicsr.archs", "basicsr.utils", "basicsr.utils.registry"):
            package(part)
        registry = types.SimpleNamespace(register=lambda: lambda found: found)
        sys.modules["basicsr.utils.registry"].ARCH_REGISTRY = registry
        archs, utils = folder / "ddcolor/basicsr/archs", "ddcolor_arch_utils"
        package(f"basicsr.archs.{utils}")
        for part in ("unet", "convnext", "transformer_utils", "position_encoding", "transformer"):
            module(archs / utils / f"{part}.py", f"basicsr.archs.{utils}.{part}")
        found = module(archs / "ddcolor_arch.py", "basicsr.archs.ddcolor_arch")
        return found.DDColor(
            "convnext-t", input_size=(64, 64), num_output_channels=2, last_norm="Spectral",
            num_queries=100,
        )  # fmt: skip
    return None


def compare(name, network, folder):
    theirs = authors_network(name, folder)
    if theirs is None:
        print(f"{name}: not compared with the authors' code")
        return
    _, channels = NETWORKS[name]
    if not channels:
        # The authors' colorizers have one size.
        network = {
            "eccv16": lambda: ECCV16((64, 128, 256, 512), 313),
            "siggraph17": lambda: SIGGRAPH17((64, 128, 256, 512), 529),
            "ddcolor": lambda: DDColor((3, 3, 9, 3), (96, 192, 384, 768), 512, 100, 256, 9, 2048),
        }[name]()
        network = network.double().eval()
        with torch.no_grad():
            randomise(network)
    theirs.double().eval().load_state_dict(network.state_dict(), strict=True)
    worst = 0.0
    for height, width in ((48, 64), (400, 392)) if channels else ((64, 96), (96, 128)):
        picture = torch.rand(1, channels or 1, height, width, dtype=torch.float64)
        with torch.no_grad():
            mine = network(picture)
            if name == "drunet":
                level = torch.full_like(picture, network.noise / 255)
                picture = torch.cat([picture, level], 1)
            if name == "ddcolor":
                other = theirs(network.gray(picture)) / 110
            elif name != "deepdeblur":
                other = theirs(picture if channels else 100 * picture)
                other = other if channels else other / 110
            if name == "deepdeblur":
                other = theirs(network.pyramid(picture))[0] / 255
        other = other[-1] if isinstance(other, list) else other
        worst = max(worst, float((mine - other).abs().max()))
    print(f"{name}: differs from the authors' code by {worst:.1e}")
    if worst > 1e-9:
        raise SystemExit(f"{name} is not the authors' network")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--only", nargs="+", default=list(NETWORKS), metavar="NAME")
    arguments = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    write_files()
    for key in arguments.only:
        made = write(key)
        if arguments.against:
            compare(key, made, arguments.against)
