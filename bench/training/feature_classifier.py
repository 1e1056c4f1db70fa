"""How the feature network of a data set is trained."""

import torch
from torch import Tensor, nn

from ...datasets.base import Batch
from ...datasets.classifiers import Recipe
from ...methods.method import Trainable
from ...methods.randomness import generator


class ClassifierTraining(Trainable):
    """Cross-entropy with label smoothing on slightly noisy images, one-cycle learning rate."""

    def __init__(self, recipe: Recipe, seed: int = 0) -> None:
        super().__init__()
        self.recipe, self.seed = recipe, seed
        self.batch_size = recipe.batch
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.classifier = recipe.build()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        rng = generator(self.seed, "classifier", int(batch["step"]))
        x = batch["x0"] + 0.05 * torch.randn(batch["x0"].shape, generator=rng).to(batch["x0"], non_blocking=True)
        # Dropout draws from the global generator: seeding it by the step makes the run resumable.
        torch.manual_seed(int(torch.randint(2**62, (), generator=rng)))
        labels = batch["labels"]
        assert labels is not None
        return nn.functional.cross_entropy(self.classifier(x), labels, label_smoothing=0.05)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.classifier.parameters(), self.recipe.learning_rate)

    def learning_rate_factor(self, step: int, spent: float) -> float:
        """One cycle: up linearly over the first 30 %, then down to 0."""
        return max(0.04, spent / 0.3) if spent < 0.3 else (1 - spent) / 0.7

    def result(self) -> nn.Module:
        return self.classifier
