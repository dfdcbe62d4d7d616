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


NETWORKS = {
    "nafnet": (lambda: NAFNet(2, (1, 2), 1, (2, 1)), 3),
    "dmphn": (lambda: DMPHN((2, 3, 4), 1), 3),
    "dmphn_stacked": (lambda: DMPHN((2, 2, 3), 2), 3),
    "dmphn_1_2_4_8": (lambda: DMPHN((2, 2, 3), 1, levels=4), 3),
    "dncnn": (lambda: DnCNN(6, 5, normalized=False), 1),
    "dncnn_normalized": (lambda: DnCNN(6, 5, normalized=True), 1),
    "drunet": (lambda: DRUNet((3, 4, 5, 6), 2, noise=25), 1),
    "hinet": (lambda: HINet(2, 3, (0, 2)), 3),
}


# Last layers give little, or the results would lie outside the range, where they are clipped.
CALM = {
    "layer24.weight": 0.1,
    "ending.weight": 0.1,
    "last.weight": 0.1,
    "sam12.conv2.weight": 0.1,
    "m_tail.weight": 0.02,
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


def luminance_of(network, channels, size):
    luminance = np.random.default_rng(size[0]).random(size, np.float32)
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
    state = {key: value.numpy() for key, value in network.state_dict().items()}
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
    return None


def compare(name, network, folder):
    theirs = authors_network(name, folder)
    if theirs is None:
        print(f"{name}: not compared with the authors' code")
        return
    theirs.double().eval().load_state_dict(network.state_dict(), strict=True)
    _, channels = NETWORKS[name]
    worst = 0.0
    for height, width in ((48, 64), (400, 392)):
        picture = torch.rand(1, channels, height, width, dtype=torch.float64)
        with torch.no_grad():
            mine = network(picture)
            if name == "drunet":
                level = torch.full_like(picture, network.noise / 255)
                picture = torch.cat([picture, level], 1)
            other = theirs(picture)
        other = other[-1] if isinstance(other, list) else other
        worst = max(worst, float((mine - other).abs().max()))
    print(f"{name}: differs from the authors' code by {worst:.1e}")
    if worst > 1e-9:
        raise SystemExit(f"{name} is not the authors' network")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=pathlib.Path, metavar="FOLDER")
    arguments = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    write_files()
    for key in NETWORKS:
        made = write(key)
        if arguments.against:
            compare(key, made, arguments.against)
