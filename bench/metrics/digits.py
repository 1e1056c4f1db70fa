"""The feature network of fd_digits: a small classifier that the suite trains on the digits' training split."""

import torch
from torch import Tensor, nn

from ...datasets.base import Batch
from ...methods.method import Trainable
from ...methods.randomness import generator

FEATURES = 64
STEPS = 300
BATCH = 128


class DigitsClassifier(nn.Module):
    """x (B, 1, 8, 8) in [-1, 1] -> features (B, 64) after ReLU, and logits (B, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(64 * 16, FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(FEATURES, 10)

    def features(self, x: Tensor) -> Tensor:
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class ClassifierTraining(Trainable):
    """Cross-entropy with label smoothing on slightly noisy digits, one-cycle learning rate."""

    batch_size = BATCH

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.classifier = DigitsClassifier()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        rng = generator(self.seed, "classifier", int(batch["step"]))
        x = batch["x0"] + 0.05 * torch.randn(batch["x0"].shape, generator=rng)
        # Dropout draws from the global generator: seeding it by the step makes the run resumable.
        torch.manual_seed(int(torch.randint(2**62, (), generator=rng)))
        labels = batch["labels"]
        assert labels is not None
        return nn.functional.cross_entropy(self.classifier(x), labels, label_smoothing=0.05)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.classifier.parameters(), 4e-3)

    def learning_rate_factor(self, step: int, spent: float) -> float:
        """One cycle: up linearly over the first 30 %, then down to 0."""
        return max(0.04, spent / 0.3) if spent < 0.3 else (1 - spent) / 0.7

    def result(self) -> nn.Module:
        return self.classifier
