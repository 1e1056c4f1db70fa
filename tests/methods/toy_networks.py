"""The toy networks that the distillation references were made with, and one that predicts eps."""

import torch
from torch import nn

from fewstep.methods.paths import expand
from fewstep.methods.scalings import edm_scalings


def toy_network(u, tau, p):
    """N(u, tau; p) = p0 u + p1 tanh(2u) + p2 sin(tau + u) + p3 cos(tau); u (B, ...), tau (B,), p (4,)."""
    tau = expand(tau, u)
    return p[0] * u + p[1] * torch.tanh(2 * u) + p[2] * torch.sin(tau + u) + p[3] * torch.cos(tau)


class ToyNetwork(nn.Module):
    """The toy network with tau = scale c_noise."""

    def __init__(self, p, scale=1000.0):
        super().__init__()
        self.p, self.scale = nn.Parameter(p.clone()), scale

    def forward(self, u, c_noise, condition):
        return toy_network(u, self.scale * c_noise, self.p)


def toy_edm(p, sigma_data=0.5):
    """D(x, sigma): the toy network, told ln(sigma)/4, under EDM's scalings."""

    def denoise(x, sigma):
        c_skip, c_out, c_in = (expand(c, x) for c in edm_scalings(sigma, sigma_data))
        return c_skip * x + c_out * toy_network(c_in * x, sigma.log() / 4, p)

    return denoise


class PredictsEps(nn.Module):
    """The exact eps of a denoiser, as a network says it."""

    def __init__(self, exact):
        super().__init__()
        self.exact = exact

    def forward(self, x, t, condition):
        return self.exact.path.eps(x, self.exact.denoise(x, t, condition), t)
