"""Names and shapes of the tensors in each family's files, from the arguments of its authors' constructors."""

from collections.abc import Callable
from typing import Any

from torch import nn

from ...networks.ddpm import DDPMUNet
from ...networks.openai import OpenAIClassifier, OpenAIUNet
from .base import outline

Shape = tuple[int, ...]
Shapes = dict[str, Shape]
Fields = dict[str, Any]


def _shapes(network: nn.Module) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def openai(fields: Fields) -> Shapes:
    return _shapes(outline(lambda: OpenAIUNet(**fields)))


def classifier(fields: Fields) -> Shapes:
    return _shapes(outline(lambda: OpenAIClassifier(**fields)))


def ddpm(fields: Fields) -> Shapes:
    return _shapes(outline(lambda: DDPMUNet(**fields)))


class Modules(dict[str, Shape]):
    """`all_modules` of score_sde as it is made: each next one gets the next number."""

    count = 0

    def add(self, **shapes: Shape) -> None:
        self.update({f"all_modules.{self.count}.{name.replace('__', '.')}": shape for name, shape in shapes.items()})
        self.count += 1

    def linear(self, *shape: int) -> None:
        self.add(weight=shape, bias=shape[:1])

    def block(self, width: int, out: int, emb: int, resample: bool = False, skip: str = "Conv_2") -> None:
        shapes: Shapes = {
            "GroupNorm_0": (width,),
            "Conv_0": (out, width, 3, 3),
            "Dense_0": (out, emb),
            "GroupNorm_1": (out,),
        }
        shapes["Conv_1"] = (out, out, 3, 3)
        facts = {f"{name}__weight": shape for name, shape in shapes.items()}
        facts |= {f"{name}__bias": (shape[0],) for name, shape in shapes.items()}
        if width != out or resample:
            nin = skip.startswith("NIN")
            facts[f"{skip}__{'W' if nin else 'weight'}"] = (width, out) if nin else (out, width, 1, 1)
            facts[f"{skip}__{'b' if nin else 'bias'}"] = (out,)
        self.add(**facts)

    def resample(self, width: int, emb: int, own: bool) -> None:
        """own: of score_sde's DDPM, a convolution alone."""
        if own:
            self.add(Conv_0__weight=(width, width, 3, 3), Conv_0__bias=(width,))
        else:
            self.block(width, width, emb, resample=True)

    def attention(self, width: int) -> None:
        facts: Shapes = {"GroupNorm_0__weight": (width,), "GroupNorm_0__bias": (width,)}
        for j in range(4):
            facts |= {f"NIN_{j}__W": (width, width), f"NIN_{j}__b": (width,)}
        self.add(**facts)


def score_sde(fields: Fields) -> Shapes:
    """Names and shapes of NCSN++, DDPM++ and score_sde's own DDPM, written from the order of their constructors."""
    nf, emb, modules = fields["nf"], 4 * fields["nf"], Modules()
    own, fourier = fields["name"] == "ddpm", fields.get("embedding_type") == "fourier"
    blocks, widths = fields["num_res_blocks"], [nf * mult for mult in fields["ch_mult"]]
    attends = [fields["image_size"] >> level in fields["attn_resolutions"] for level in range(len(widths))]
    skip = "NIN_0" if own else "Conv_2"

    if fourier:
        modules.add(W=(nf,))
    modules.linear(emb, nf * (2 if fourier else 1))
    modules.linear(emb, emb)
    modules.linear(nf, 3, 3, 3)
    skips, pyramid = [nf], 3
    for level, width in enumerate(widths):
        for _ in range(blocks):
            modules.block(skips[-1], width, emb, skip=skip)
            if attends[level]:
                modules.attention(width)
            skips.append(width)
        if level < len(widths) - 1:
            modules.resample(width, emb, own)
            if fourier:
                modules.add(Conv2d_0__weight=(width, pyramid, 3, 3), Conv2d_0__bias=(width,))
                pyramid = width
            skips.append(width)
    h = widths[-1]
    modules.block(h, h, emb)
    modules.attention(h)
    modules.block(h, h, emb)
    for level, width in reversed(list(enumerate(widths))):
        for _ in range(blocks + 1):
            modules.block(h + skips.pop(), width, emb, skip=skip)
            h = width
        if attends[level]:
            modules.attention(width)
        if level:
            modules.resample(width, emb, own)
    modules.linear(h)
    modules.linear(3, h, 3, 3)
    return modules


class Leaves(dict[str, Shape]):
    """flax's parameters, by their path in the tree."""

    def layer(self, name: str, kernel: Shape, bias: Shape | None = None) -> None:
        self[f"{name}/kernel"], self[f"{name}/bias"] = kernel, bias or kernel[-1:]

    def norm(self, name: str, width: int) -> None:
        self[f"{name}/scale"] = self[f"{name}/bias"] = (width,)

    def block(self, name: str, width: int, out: int, emb: int) -> None:
        self.norm(f"{name}/norm1", width)
        self.layer(f"{name}/conv1", (3, 3, width, out))
        self.layer(f"{name}/temb_proj", (emb, 2 * out))
        self.norm(f"{name}/norm2", out)
        self.layer(f"{name}/conv2", (3, 3, out, out))
        if width != out:
            self.layer(f"{name}/nin_shortcut", (width, out))

    def attention(self, name: str, width: int, heads: int) -> None:
        d = width // heads
        self.norm(f"{name}/norm", width)
        for part in "qkv":
            self.layer(f"{name}/{part}", (width, heads, d), (heads, d))
        self.layer(f"{name}/proj_out", (heads, d, width))


def flax_pd(fields: Fields) -> Shapes:
    """Names and shapes of PD's UNet, written from its forward pass."""
    ch, emb, leaves = fields["ch"], 4 * fields["ch"], Leaves()
    widths, blocks = [ch * mult for mult in fields["ch_mult"]], fields["num_res_blocks"]
    attends = [fields["image_size"] >> level in fields["attn_resolutions"] for level in range(len(widths))]

    def attention(name: str, width: int) -> None:
        leaves.attention(name, width, fields.get("num_heads") or width // fields["head_dim"])

    leaves.layer("dense0", (ch, emb))
    leaves.layer("dense1", (emb, emb))
    if fields["num_classes"] > 1:
        leaves.layer("class_emb", (fields["num_classes"], emb))
    leaves.layer("conv_in", (3, 3, 3, ch))
    skips = [ch]
    for level, width in enumerate(widths):
        for k in range(blocks):
            leaves.block(f"down_{level}.block_{k}", skips[-1], width, emb)
            if attends[level]:
                attention(f"down_{level}.attn_{k}", width)
            skips.append(width)
        if level < len(widths) - 1:
            leaves.block(f"down_{level}.downsample", width, width, emb)
            skips.append(width)
    h = widths[-1]
    leaves.block("mid.block_1", h, h, emb)
    attention("mid.attn_1", h)
    leaves.block("mid.block_2", h, h, emb)
    for level, width in reversed(list(enumerate(widths))):
        for k in range(blocks + 1):
            leaves.block(f"up_{level}.block_{k}", h + skips.pop(), width, emb)
            if attends[level]:
                attention(f"up_{level}.attn_{k}", width)
            h = width
        if level:
            leaves.block(f"up_{level}.upsample", width, width, emb)
    leaves.norm("norm_out", h)
    leaves.layer("conv_out", (3, 3, h, fields["out_ch"]))
    return leaves


SHAPES: dict[str, Callable[[Fields], Shapes]] = {
    "openai": openai,
    "torchcfm": openai,
    "ddpm": ddpm,
    "score-sde": score_sde,
    "flax-pd": flax_pd,
}
