"""Failures of the mathematics, which become a row's status. No torch."""


class IntegrationError(RuntimeError):
    """An adaptive solver cannot integrate a denoiser's ODE; the message says at which noise level and why."""
