"""The Inception network of FID, KID, the Inception score, sFID and Inception precision and recall.

One file of weights behind three ways to resize, each a protocol of its own: "tf1" (Heusel et al. 2017, ADM, EDM, all
of torch-fidelity), "legacy-pytorch" (pytorch-fid) and "clean" (clean-fid).
"""

import io
from pathlib import Path

import torch
from torch import Tensor, nn

from .network import FeatureNetwork

SIDE = 299
SPATIAL_CHANNELS = 7
"""Of 192: sFID takes so few that 17 x 17 positions give about as many features as the pool (Nash et al. 2021)."""


class Inception(FeatureNetwork):
    """Gives "pool" (B, 2048), "logits" without bias (B, 1008) and "spatial" (B, 2023); torch-fidelity's state dict.

    The spatial features are laid out (17, 17, 7), as TensorFlow's are, hence as in ADM's reference statistics.
    """

    def __init__(self, weights: Path, resize: str) -> None:
        super().__init__()
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        # torch-fidelity would unpickle whatever the file holds: it gets a copy that holds tensors alone.
        tensors = io.BytesIO()
        torch.save(torch.load(weights, map_location="cpu", weights_only=True), tensors)
        tensors.seek(0)
        network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=tensors)
        # Its own forward takes only uint8 images, which "clean" and "legacy-pytorch" do not give it.
        blocks = dict(network.named_children())
        names = list(blocks)
        middle = names.index("Mixed_6d")
        self.stem = nn.Sequential(*(blocks[name] for name in names[:middle]))
        self.mixed_6 = blocks["Mixed_6d"]
        self.head = nn.Sequential(*(blocks[name] for name in names[middle + 1 : names.index("fc")]))
        self.fc = blocks["fc"]
        self.resize = resize

    def features(self, images: Tensor) -> dict[str, Tensor]:
        pixels = self.pixels(images, self.resize, SIDE)
        x = self.stem(pixels / 127.5 - 1 if self.resize == "legacy-pytorch" else (pixels - 128) / 128)
        spatial = self.mixed_6.branch1x1(x)[:, :SPATIAL_CHANNELS].permute(0, 2, 3, 1).flatten(1)
        pool = self.head(self.mixed_6(x)).flatten(1)
        return {"pool": pool, "logits": pool @ self.fc.weight.T, "spatial": spatial}
