"""PickScore (Kirstain et al. 2023): a CLIP ViT-H/14 fine-tuned on people's choices, as a transformers CLIPModel."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from .clip import MEAN, STD, paired, square
from .network import FeatureNetwork, full_precision, normalised
from .resize import as_rgb


class PickScore(FeatureNetwork):
    """Gives "image" (B, D), embeddings of length 1, and scores of images with captions: exp(logit scale) * cosine.

    The scores are about 20 to 23; some tables print a hundredth of them. RuntimeError for another network's files.
    """

    def __init__(self, folder: Path, resize: str) -> None:
        super().__init__()
        import open_clip
        from transformers import CLIPModel

        network, found = CLIPModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        # transformers fills what a file lacks with random numbers, and keeps a file's half precision.
        if absent := sorted([*found["missing_keys"], *map(str, found["mismatched_keys"])]):
            raise RuntimeError(f"{folder} holds another network: {absent[0]} is not there or has another shape")
        self.network = network.float()
        # CLIP's one vocabulary, so that the processor's files need not be there too; what pads behind the end
        # of a caption is never looked at.
        self.tokenise = open_clip.SimpleTokenizer(
            context_length=self.network.config.text_config.max_position_embeddings
        )
        self.side: int = self.network.config.vision_config.image_size
        self.resize = resize

    def features(self, images: Tensor) -> dict[str, Tensor]:
        return {"image": self._embedded(images, [""] * len(images))[0]}

    def score(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """exp(logit scale) * cosine (B,) of each image with its own caption; ValueError for unequal numbers."""
        paired(images, captions)
        with full_precision(self.device):
            image, text = self._embedded(as_rgb(images), captions)
            return self.network.logit_scale.exp() * (image * text).sum(-1)

    def _embedded(self, images: Tensor, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Both of length 1. By the whole forward: what get_image_features returns changed with transformers 5."""
        pixels = normalised(self.pixels(square(images), self.resize, self.side), MEAN, STD)
        tokens = self.tokenise(list(captions)).to(self.device)
        found = self.network(input_ids=tokens, pixel_values=pixels)
        return found.image_embeds, found.text_embeds
