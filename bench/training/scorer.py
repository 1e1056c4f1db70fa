"""How the scorer of a data set with captions is trained."""

import torch
from torch import Tensor, nn

from ...datasets.base import Batch
from ...datasets.scorers import ScorerRecipe
from ...methods.method import Trainable
from ...methods.randomness import generator


class ScorerTraining(Trainable):
    """CLIP's loss, both ways, on slightly noisy images: each image belongs to all captions of its meaning alike.

    With its own caption as the only right one, a paraphrase in the same batch would be pushed away.
    """

    def __init__(self, recipe: ScorerRecipe, seed: int = 1) -> None:
        super().__init__()
        self.recipe, self.seed = recipe, seed
        self.batch_size = recipe.batch
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.scorer = recipe.build()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        rng = generator(self.seed, "scorer", int(batch["step"]))
        x, rows = batch["x0"], batch["labels"]
        assert rows is not None
        x = x + self.recipe.noise * torch.randn(x.shape, generator=rng).to(x)
        cosines = self.scorer.features(x) @ self.scorer.captions(rows).T
        meanings = self.scorer.meanings(rows)
        alike = (meanings[:, None] == meanings).to(cosines)
        targets, logits = alike / alike.sum(1, keepdim=True), cosines / self.recipe.temperature
        cross_entropy = nn.functional.cross_entropy
        return (cross_entropy(logits, targets) + cross_entropy(logits.T, targets)) / 2

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.scorer.parameters(), self.recipe.learning_rate)

    def learning_rate_factor(self, step: int, spent: float) -> float:
        """One cycle: up linearly over the first 10 %, then down to 0."""
        return max(0.04, spent / 0.1) if spent < 0.1 else (1 - spent) / 0.9

    def result(self) -> nn.Module:
        return self.scorer
