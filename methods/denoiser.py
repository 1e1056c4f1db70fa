"""The denoiser D(x, t) = E[x0 | x_t = x], whatever the network behind it predicts.

Every solver and every distillation loss speaks to a Denoiser; networks, papers' parameterisations,
guidance and a change of path are wrappers around one another.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from . import computing, meter, ranks
from .codec import Codec
from .meter import Exhausted as Exhausted
from .meter import Meter as Meter
from .meter import metered as metered
from .paths import EDM, Path, Scalar, Time, as_time, axpby, expand
from .prompts import Prompts
from .randomness import categories
from .scalings import as_number, edm_scalings, factor, parameter_dtype, time_dtype

Condition = Any
Predict = Callable[[Tensor, Tensor, Condition], Tensor]


class Denoiser(nn.Module):
    """D(x, t, condition) -> x0 on `path`. Subclasses write `denoise`; calling counts and checks the time.

    One whose network predicts eps may answer `eps` directly: it sets `predicts_eps` and writes `predict_eps`; one that
    has D and eps alike at hand says so by `says_eps` alone. One whose network may say a variance too writes
    `predict_moments`.

    x: (B, ...), t: float, () or (B,), result: like x, in x's dtype. `sample_shape` is one sample's, where it
    is known: methods that read no data take it from their teacher. `sample_bound` is the largest |x0| that the
    data can have, where they have one (images: 1). `class_counts` is how many samples of each class a
    class-conditional denoiser's data set holds; its condition is a label (B,) int64, or None for the null label.
    One that is told prompts has `prompts` instead: its condition is a row of their table. Without both it is
    unconditional, whatever the condition. `codec` is between its samples and images, None where they are the same.
    `trained_path` is the path that its network was trained on, where that is another than `path`: grids of labels lie
    on it, and `on` it the network itself is asked.
    """

    trained_path: Path | None = None
    sample_shape: tuple[int, ...] | None = None
    sample_bound: float | None = None
    class_counts: tuple[int, ...] | None = None
    prompts: Prompts | None = None
    codec: Codec | None = None
    predicts_eps: bool = False
    forwards_per_evaluation: int = 1
    """Of the network, for one that asks it about several times at once."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def denoise(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """x: (B, ...), t: () or (B,), on x's device."""
        raise NotImplementedError

    @property
    def says_eps(self) -> bool:
        """Whether `eps` is no detour by D."""
        return self.predicts_eps

    def predict_eps(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """E[eps | x_t = x], with the arguments of `denoise`."""
        return self.path.eps(x, self.denoise(x, t, condition), t)

    def predict_moments(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """(2, B, ...): D and the share of `moments`, with the arguments of `denoise`."""
        raise ValueError("no variance is learned here: take one of the fixed ones")

    def inner(self) -> "Denoiser | None":
        """The denoiser that this one wraps, if its forwards are that one's."""
        return None

    def unwrapped(self) -> "Denoiser":
        """The denoiser under guidance and changes of path: the network that a student copies."""
        inner = self.inner()
        return self if inner is None else inner.unwrapped()

    def given(self, condition: Condition) -> "Denoiser":
        """The same denoiser with its condition filled in, for what speaks to D(x, t)."""
        return self if condition is None else Conditioned(self, condition)

    @property
    def conditional(self) -> bool:
        """Whether it is told what to make: labels or prompts."""
        return self.class_counts is not None or self.prompts is not None

    def conditions(self, seed: int, purpose: str, indices: Iterable[int]) -> Tensor | None:
        """Labels (len(indices),) int64 on the CPU, drawn in the data set's proportions; None if unconditional.

        Row k depends on (seed, purpose, indices[k]) alone. Samples then have the reference set's classes, as a
        Frechet distance to it requires. Prompts are drawn as `Prompts` says.
        """
        if self.prompts is not None:
            return self.prompts.drawn(seed, purpose, indices)
        return None if self.class_counts is None else categories(seed, purpose, indices, self.class_counts)

    def forward(self, x: Tensor, t: Time, condition: Condition = None) -> Tensor:
        return self._counted(self.denoise, x, t, condition)

    def eps(self, x: Tensor, t: Time, condition: Condition = None) -> Tensor:
        """E[eps | x_t = x] = (x - alpha D)/sigma, one evaluation; what the network says if `predicts_eps`."""
        return self._counted(self.predict_eps, x, t, condition)

    def moments(self, x: Tensor, t: Time, condition: Condition = None) -> tuple[Tensor, Tensor]:
        """(D, share), one evaluation. ValueError where the network says no variance.

        share (B, ...): where the log of the variance of a step from x lies between the posterior's (0) and beta's (1):
        (v + 1)/2 of Nichol & Dhariwal 2021, eq. 15. It may leave [0, 1].
        """
        x0, share = self._counted(self._moments_by_row, x, t, condition).unbind(1)
        return x0, share

    def _moments_by_row(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        return self.predict_moments(x, t, condition).transpose(0, 1)

    def _counted(self, predict: Predict, x: Tensor, t: Time, condition: Condition) -> Tensor:
        t, rows = as_time(t).to(x.device, non_blocking=True), x.shape[0]
        if t.ndim > 1 or (t.ndim == 1 and len(t) != rows):
            raise ValueError(f"t has shape {tuple(t.shape)}; expected () or ({rows},) for x {tuple(x.shape)}")
        meter.enter(rows)
        try:
            if self.inner() is not None:
                return predict(x, t, condition).to(x.dtype)
            meter.count_forward(rows * self.forwards_per_evaluation)
            with computing.evaluation(x.device.type):
                return meter.forward(ranks.evaluate, predict, x, t, condition).to(x.dtype)
        finally:
            meter.leave()

    def on(self, path: Path) -> "Denoiser":
        """The same denoiser, asked on another path: exact, see ChangeOfPath; on `trained_path` the network itself."""
        if path == self.path:
            return self
        return self.as_trained() if path == self.trained_path else ChangeOfPath(self, path)

    def as_trained(self) -> "Denoiser":
        """The denoiser on `trained_path`, its network shared."""
        raise NotImplementedError(f"{type(self).__name__} knows no other path")


def networks(module: nn.Module) -> list[nn.Module]:
    """Those of the denoisers in a module, each once."""
    found = (getattr(part, "network", None) for part in module.modules() if isinstance(part, Denoiser))
    return list(dict.fromkeys(network for network in found if isinstance(network, nn.Module)))


class FunctionDenoiser(Denoiser):
    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], path: Path) -> None:
        super().__init__(path)
        self.function = function

    def denoise(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        return self.function(x, t)


def from_function(function: Callable[[Tensor, Tensor], Tensor], path: Path) -> Denoiser:
    """A denoiser from f(x, t) -> x0 on `path`; x: (B, ...), t: a scalar or (B,) tensor."""
    return FunctionDenoiser(function, path)


X0_FROM = {
    "x0": lambda path, x, output, t: output,
    "eps": Path.x0_from_eps,
    "score": Path.x0_from_score,
    "v": Path.x0_from_v,
    "velocity": Path.x0_from_velocity,
    "both": Path.x0_from_x0_and_eps,
}


class NetworkDenoiser(Denoiser):
    """A network trained on `path` to predict x0, eps, score, v, velocity, or both x0 and eps in twice the channels.

    Called as network(x, time_of(t), condition), t itself without `time_of`. Channels after those of the prediction
    are a learned variance; `output` has them.
    """

    def __init__(
        self,
        network: nn.Module,
        path: Path,
        prediction: str,
        time_of: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__(path)
        if prediction not in X0_FROM:
            raise ValueError(f"unknown prediction {prediction!r}; one of {', '.join(X0_FROM)}")
        self.network = network
        self.prediction = prediction
        self.time_of = time_of
        self.predicts_eps = prediction == "eps"

    def denoise(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        return X0_FROM[self.prediction](self.path, x, self._output(x, t, condition), t)

    def predict_eps(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        if self.predicts_eps:
            return self._output(x, t, condition)
        return super().predict_eps(x, t, condition)

    def predict_moments(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        said, channels = self.output(x, t, condition), x.shape[1]
        if self.prediction == "both" or said.shape[1] != 2 * channels:
            return super().predict_moments(x, t, condition)
        x0 = X0_FROM[self.prediction](self.path, x, said[:, :channels], t)
        return torch.stack([x0, (said[:, channels:] + 1) / 2])

    def output(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """All that the network says, in x's dtype: (B, C, ...), or (B, 2C, ...) with a learned variance."""
        given = x.to(parameter_dtype(self.network, x))
        time = (t if self.time_of is None else self.time_of(t)).to(time_dtype(self.network, given.dtype))
        said: Tensor = self.network(given, time.expand(x.shape[0]), condition)
        return said.to(x.dtype)

    def _output(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        said = self.output(x, t, condition)
        return said if self.prediction == "both" else said[:, : x.shape[1]]


class EDMDenoiser(Denoiser):
    """EDM preconditioning (Karras et al. 2022, table 1): D = c_skip x + c_out F(c_in x, ln(sigma)/4).

    `network` is F(x, c_noise, condition) with c_noise (B,), at least in float32.
    """

    path: EDM

    def __init__(self, network: nn.Module, sigma_data: float, path: EDM) -> None:
        super().__init__(path)
        self.network = network
        self.sigma_data = sigma_data

    def scalings(self, sigma: Scalar) -> tuple[Scalar, Scalar, Scalar]:
        """(c_skip, c_out, c_in) at noise level sigma, a float or a tensor () or (B,)."""
        return edm_scalings(sigma, self.sigma_data)

    def denoise(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        c_skip, c_out, F = self._said(x, t, condition)
        return axpby(c_skip, x, c_out, F)

    @property
    def says_eps(self) -> bool:
        # A subclass with a D of its own has its eps by that.
        return type(self).denoise is EDMDenoiser.denoise

    def predict_eps(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """(x - D)/sigma = ((1 - c_skip) x - c_out F)/sigma."""
        if not self.says_eps:
            return super().predict_eps(x, t, condition)
        sigma = factor(as_number(t), x)
        c_skip, c_out, F = self._said(x, t, condition)
        return axpby((1 - c_skip) / sigma, x, -c_out / sigma, F)

    def _said(self, x: Tensor, t: Tensor, condition: Condition) -> tuple[Scalar, Scalar, Tensor]:
        """(c_skip, c_out, F), shaped to multiply x."""
        c_skip, c_out, c_in = (factor(c, x) for c in self.scalings(as_number(t)))
        F = self._asked((c_in * x).to(parameter_dtype(self.network, x)), t, condition).to(x.dtype)
        return c_skip, c_out, F

    def _asked(self, scaled: Tensor, t: Tensor, condition: Condition) -> Tensor:
        F: Tensor = self.network(scaled, self.c_noise(t, scaled), condition)
        return F

    def c_noise(self, t: Tensor, x: Tensor) -> Tensor:
        """ln(sigma)/4 for each sample of x, (B,), as the network that is given x is told it."""
        return (torch.log(t) / 4).to(time_dtype(self.network, x.dtype)).expand(x.shape[0])


class Wrapper(Denoiser):
    """A denoiser whose values are made of another's, on the same samples and classes."""

    def __init__(self, denoiser: Denoiser, path: Path) -> None:
        super().__init__(path)
        self.denoiser = denoiser
        self.sample_shape, self.sample_bound = denoiser.sample_shape, denoiser.sample_bound
        self.class_counts, self.trained_path = denoiser.class_counts, denoiser.trained_path
        self.prompts, self.codec = denoiser.prompts, denoiser.codec

    def inner(self) -> Denoiser:
        return self.denoiser

    def around(self, denoiser: Denoiser) -> Denoiser:
        """What this wrapper makes of another denoiser."""
        raise NotImplementedError

    def as_trained(self) -> Denoiser:
        assert self.trained_path is not None
        return self.around(self.denoiser.on(self.trained_path))


class Conditioned(Wrapper):
    """A denoiser with one condition for every call: D(x, t) = D'(x, t, condition)."""

    def __init__(self, denoiser: Denoiser, condition: Condition) -> None:
        super().__init__(denoiser, denoiser.path)
        self.condition = condition
        self.predicts_eps = denoiser.predicts_eps

    @property
    def says_eps(self) -> bool:
        return self.denoiser.says_eps

    def around(self, denoiser: Denoiser) -> Denoiser:
        return Conditioned(denoiser, self.condition)

    def denoise(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        return self.denoiser(x, t, self.condition)

    def predict_eps(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        return self.denoiser.eps(x, t, self.condition)

    def predict_moments(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        return torch.stack(self.denoiser.moments(x, t, self.condition))


class Guided(Wrapper):
    """Classifier-free guidance (Ho & Salimans 2022): D_null + w (D_c - D_null).

    `scale` w = 1 is the conditional denoiser, 0 the unconditional one; `null` is the condition that means
    "none". One evaluation (NFE) is two forwards, and a budget, whose unit is one forward of the network on
    one sample, is charged two.
    """

    def __init__(self, denoiser: Denoiser, scale: float, null: Condition = None) -> None:
        super().__init__(denoiser, denoiser.path)
        self.scale, self.null = scale, null

    def around(self, denoiser: Denoiser) -> Denoiser:
        return Guided(denoiser, self.scale, self.null)

    def denoise(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        unconditional = self.denoiser(x, t, self.null)
        return unconditional + self.scale * (self.denoiser(x, t, condition) - unconditional)

    def predict_moments(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """The variance is the conditional network's."""
        unconditional, (x0, share) = self.denoiser(x, t, self.null), self.denoiser.moments(x, t, condition)
        return torch.stack([unconditional + self.scale * (x0 - unconditional), share])


class Clipped(Wrapper):
    """D clamped to [-bound, bound], for sampling from networks that overshoot the range of images."""

    def __init__(self, denoiser: Denoiser, bound: float) -> None:
        super().__init__(denoiser, denoiser.path)
        self.bound = bound

    def around(self, denoiser: Denoiser) -> Denoiser:
        return Clipped(denoiser, self.bound)

    def denoise(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        return self.denoiser(x, t, condition).clamp(-self.bound, self.bound)

    def predict_moments(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        x0, share = self.denoiser.moments(x, t, condition)
        return torch.stack([x0.clamp(-self.bound, self.bound), share])


class ChangeOfPath(Wrapper):
    """A denoiser asked on another Gaussian path: D(x; t) = D'(x alpha'/alpha; t') where sigma'/alpha' = sigma/alpha.

    Above the largest noise level that the inner path reaches (a flow's t = 1 has none at all), x is pure
    noise: the state keeps its direction and is asked at the inner path's t_max.
    """

    def around(self, denoiser: Denoiser) -> Denoiser:
        return denoiser

    def denoise(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        return self.denoiser(*self._inner_point(x, t), condition)

    def predict_moments(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        return torch.stack(self.denoiser.moments(*self._inner_point(x, t), condition))

    def _inner_point(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """x and t as the inner denoiser is asked."""
        own = self.denoiser.path
        level_max = own.noise_level(torch.as_tensor(own.t_max, dtype=t.dtype, device=t.device))
        level = self.path.noise_level(t)
        t_own = torch.where(level < level_max, own.time_at(level.clamp(max=level_max)), own.t_max)
        # Matching sigma, not alpha, is the same rescaling and survives alpha = 0.
        scale = torch.where(
            self.path.sigma(t) > 0,
            own.sigma(t_own) / self.path.sigma(t),
            own.alpha(t_own) / self.path.alpha(t),
        )
        return expand(scale, x) * x, t_own
