"""DDPM++ and NCSN++ (Song et al. 2021), as reimplemented by Karras et al. 2022, appendix F."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .edm_layers import (
    BlockStyle,
    Conv2d,
    FourierEmbedding,
    GroupNorm,
    Init,
    Linear,
    PositionalEmbedding,
    UNetBlock,
    class_vector,
    residual_blocks,
)

XAVIER = Init("xavier")
NEARLY_ZERO = Init("xavier", weight=1e-5)
ATTENTION = Init("xavier", weight=math.sqrt(0.2))
EPS = 1e-6

CHOICES = {
    "embedding_type": ("positional", "fourier"),
    "encoder_type": ("standard", "skip", "residual"),
    "decoder_type": ("standard", "skip"),
}


class SongUNet(nn.Module):
    """F(x, c_noise, class_labels, augment_labels): a residual U-Net.

    DDPM++: positional embedding, standard encoder and decoder, filter [1, 1]. NCSN++: Fourier embedding of twice
    the width (`channel_mult_noise`), residual encoder, filter [1, 3, 3, 1]. "skip" encoders add the shrunken input
    at each resolution; "skip" decoders sum an image from each.

    x: (B, in_channels, H, W); noise_labels: c_noise (B,); class_labels: one-hot (B, label_dim), None for zeros;
    augment_labels: (B, augment_dim), None for an image that was not augmented. `embedding`
    stands for what `embed` makes of the last three where it is given. Result: (B, out_channels, H, W).
    """

    def __init__(
        self,
        img_resolution: int,
        in_channels: int,
        out_channels: int,
        label_dim: int = 0,
        augment_dim: int = 0,
        model_channels: int = 128,
        channel_mult: Sequence[int] = (1, 2, 2, 2),
        channel_mult_emb: int = 4,
        num_blocks: int = 4,
        attn_resolutions: Sequence[int] = (16,),
        dropout: float = 0.10,
        label_dropout: float = 0.0,
        embedding_type: str = "positional",
        channel_mult_noise: int = 1,
        encoder_type: str = "standard",
        decoder_type: str = "standard",
        resample_filter: Sequence[float] = (1, 1),
    ) -> None:
        super().__init__()
        chosen = {"embedding_type": embedding_type, "encoder_type": encoder_type, "decoder_type": decoder_type}
        for option, value in chosen.items():
            if value not in CHOICES[option]:
                raise ValueError(f"unknown {option} {value!r}; one of {', '.join(CHOICES[option])}")
        self.label_dim, self.label_dropout = label_dim, label_dropout
        self.encoder_type, self.decoder_type = encoder_type, decoder_type
        self.resolutions = [img_resolution >> level for level in range(len(channel_mult))]
        self.num_blocks, self.taps, self.attn_resolutions = num_blocks, resample_filter, attn_resolutions
        self.widths = [model_channels * mult for mult in channel_mult]

        embedding, noise = model_channels * channel_mult_emb, model_channels * channel_mult_noise
        self.map_noise = FourierEmbedding(noise) if embedding_type == "fourier" else PositionalEmbedding(noise, True)
        self.map_label = Linear(label_dim, noise, XAVIER) if label_dim else None
        self.map_augment = Linear(augment_dim, noise, XAVIER, bias=False) if augment_dim else None
        self.map_layer0 = Linear(noise, embedding, XAVIER)
        self.map_layer1 = Linear(embedding, embedding, XAVIER)

        style = BlockStyle(
            embedding,
            XAVIER,
            NEARLY_ZERO,
            ATTENTION,
            dropout=dropout,
            skip_scale=math.sqrt(0.5),
            eps=EPS,
            resample_filter=resample_filter,
            resample_proj=True,
            adaptive_scale=False,
        )
        self.enc = nn.ModuleDict()
        skips = self._build_encoder(style, in_channels, model_channels)
        self.dec = nn.ModuleDict()
        self._build_decoder(style, skips, out_channels)

    def _build_encoder(self, style: BlockStyle, in_channels: int, model_channels: int) -> list[int]:
        """Fills `enc`; returns the widths that the decoder's skip connections have."""
        width, aux, skips = model_channels, in_channels, [model_channels]
        for level, (resolution, width_out) in enumerate(zip(self.resolutions, self.widths, strict=True)):
            r = f"{resolution}x{resolution}"
            if level == 0:
                self.enc[f"{r}_conv"] = Conv2d(in_channels, width, 3, XAVIER)
            else:
                self.enc[f"{r}_down"] = UNetBlock(width, width, style, down=True)
                skips.append(width)
                if self.encoder_type == "skip":
                    self.enc[f"{r}_aux_down"] = Conv2d(aux, aux, 0, XAVIER, down=True, resample_filter=self.taps)
                    self.enc[f"{r}_aux_skip"] = Conv2d(aux, width, 1, XAVIER)
                if self.encoder_type == "residual":
                    self.enc[f"{r}_aux_residual"] = Conv2d(
                        aux, width, 3, XAVIER, down=True, resample_filter=self.taps, fused=True
                    )
                    aux = width
            for k in range(self.num_blocks):
                attend = resolution in self.attn_resolutions
                self.enc[f"{r}_block{k}"] = UNetBlock(width, width_out, style, attention=attend)
                width = width_out
                skips.append(width)
        return skips

    def _build_decoder(self, style: BlockStyle, skips: list[int], out_channels: int) -> None:
        lowest = len(self.widths) - 1
        width = skips[-1]
        for level, (resolution, width_out) in reversed(
            list(enumerate(zip(self.resolutions, self.widths, strict=True)))
        ):
            r = f"{resolution}x{resolution}"
            if level == lowest:
                self.dec[f"{r}_in0"] = UNetBlock(width, width, style, attention=True)
                self.dec[f"{r}_in1"] = UNetBlock(width, width, style)
            else:
                self.dec[f"{r}_up"] = UNetBlock(width, width, style, up=True)
            for k in range(self.num_blocks + 1):
                attend = k == self.num_blocks and resolution in self.attn_resolutions
                self.dec[f"{r}_block{k}"] = UNetBlock(width + skips.pop(), width_out, style, attention=attend)
                width = width_out
            if self.decoder_type == "skip" or level == 0:
                if self.decoder_type == "skip" and level < lowest:
                    self.dec[f"{r}_aux_up"] = Conv2d(
                        out_channels, out_channels, 0, XAVIER, up=True, resample_filter=self.taps
                    )
                self.dec[f"{r}_aux_norm"] = GroupNorm(width, EPS)
                self.dec[f"{r}_aux_conv"] = Conv2d(width, out_channels, 3, NEARLY_ZERO)

    def residual_blocks(self) -> list[tuple[nn.Module, int]]:
        """As in `edm_layers`."""
        return residual_blocks(self.enc, self.dec)

    def forward(
        self,
        x: Tensor,
        noise_labels: Tensor,
        class_labels: Tensor | None = None,
        augment_labels: Tensor | None = None,
        embedding: Tensor | None = None,
    ) -> Tensor:
        if embedding is None:
            embedding = self.embed(noise_labels, class_labels, augment_labels)
        return self._decode(self._encode(x, embedding), embedding)

    def embed(
        self, noise_labels: Tensor, class_labels: Tensor | None = None, augment_labels: Tensor | None = None
    ) -> Tensor:
        """Of noise level, class and augmentation, (B, E)."""
        # Sines before cosines, as in Song et al.'s code.
        embedding = torch.cat(self.map_noise(noise_labels).chunk(2, dim=1)[::-1], dim=1)
        embedding = embedding.to(self.map_layer0.weight.dtype)
        if self.map_label is not None:
            dropout = self.label_dropout if self.training else 0.0
            labels = class_vector(class_labels, self.label_dim, dropout, like=embedding)
            embedding = embedding + self.map_label(labels * math.sqrt(self.label_dim))
        if self.map_augment is not None and augment_labels is not None:
            embedding = embedding + self.map_augment(augment_labels.to(embedding.dtype))
        return functional.silu(self.map_layer1(functional.silu(self.map_layer0(embedding))))

    def _encode(self, x: Tensor, embedding: Tensor) -> list[Tensor]:
        """What the decoder's blocks are given, the last one first to be used."""
        skips: list[Tensor] = []
        aux = x
        for level, resolution in enumerate(self.resolutions):
            r = f"{resolution}x{resolution}"
            x = self.enc[f"{r}_down"](x, embedding) if level else self.enc[f"{r}_conv"](x)
            if level and self.encoder_type == "skip":
                aux = self.enc[f"{r}_aux_down"](aux)
                x = x + self.enc[f"{r}_aux_skip"](aux)
            if level and self.encoder_type == "residual":
                x = aux = (x + self.enc[f"{r}_aux_residual"](aux)) * math.sqrt(0.5)
            skips.append(x)
            for k in range(self.num_blocks):
                x = self.enc[f"{r}_block{k}"](x, embedding)
                skips.append(x)
        return skips

    def _decode(self, skips: list[Tensor], embedding: Tensor) -> Tensor:
        lowest = len(self.resolutions) - 1
        x, image = skips[-1], None
        for level, resolution in reversed(list(enumerate(self.resolutions))):
            r = f"{resolution}x{resolution}"
            if level == lowest:
                x = self.dec[f"{r}_in1"](self.dec[f"{r}_in0"](x, embedding), embedding)
            else:
                x = self.dec[f"{r}_up"](x, embedding)
            for k in range(self.num_blocks + 1):
                x = self.dec[f"{r}_block{k}"](torch.cat([x, skips.pop()], dim=1), embedding)
            if self.decoder_type == "skip" or level == 0:
                part = self.dec[f"{r}_aux_conv"](functional.silu(self.dec[f"{r}_aux_norm"](x)))
                image = part if image is None else part + self.dec[f"{r}_aux_up"](image)
        assert image is not None
        return image
