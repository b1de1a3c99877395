"""How sure the numbers make us that a release harms: an e-process for treated against not-yet-treated tenants. Pure.

At each look the treated tenants show `x_T` bad events where their own history expects `A`, the control `x_C` where it expects `C`. Given
their sum, `x_T` is binomial with odds `(A / C) * exp(delta)`: a shock that hits the whole fleet multiplies both sides and cancels. Durations
take a normal likelihood of the difference of logarithms instead. `delta = theta + d(t)`: `theta` is what the release does, `d` is what tenants do
by themselves, a stationary Gaussian AR(1) process of standard deviation `s` (random effects). The e-value is the ratio of two marginal likelihoods
of *all* looks so far,

    E = P(looks | theta ~ harm) / P(looks | theta = 0),

each computed exactly on a grid by the forward algorithm of a hidden Markov chain (Rouwenhorst's discretisation of the AR(1) process). Under "no
harm" and the stated drift `E` is a martingale of mean 1, so that by Ville's inequality P(ever E >= 1/alpha) <= alpha: it may be looked at
every minute. How fast drift moves is not known, so E is the smallest of the e-values under several speeds, which is valid under each of them.

Sources: Lindon & Malek, Anytime-valid inference for multinomial count data (NeurIPS 2022, arXiv 2205.14762) for the conditional count likelihood;
Ramdas et al., Game-theoretic statistics and safe anytime-valid inference (Statistical Science 2023) for mixtures, minima and products of e-values;
Kopecky & Suen, Finite state Markov-chain approximations to highly persistent processes (Review of Economic Dynamics 2010) for Rouwenhorst's method.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike, NDArray

type Floats = NDArray[np.float64]

GRID = 31
"""States of the drift: Rouwenhorst's grid spans +-sqrt(GRID - 1) = 5.5 standard deviations."""
TINY = 1e-200
FIXED = math.inf
SPEEDS: tuple[float, ...] = (FIXED, 7200.0, 1800.0)
"""Correlation times of drift, in seconds, that must all be refuted: drift that stands still, moves in hours, moves in half hours."""


@dataclass(frozen=True)
class Harm:
    """The harmful effects to look for: log-ratios `theta` (positive is worse) and how much each is expected beforehand (sums to 1)."""

    theta: Floats
    weight: Floats

    @classmethod
    def spread(cls, least: float = 1.2, usual: float = 2.0, width: float = 0.35, points: int = 20) -> Harm:
        """Bad rates times `least` or more, most of them about times `usual`: a normal of that width in logarithms, cut below."""
        theta = np.linspace(math.log(least), math.log(usual) + 3.5 * width, points)
        # The normal density; scipy.stats has it too, and takes a second of every process's start to import.
        weight = np.exp(-0.5 * ((theta - math.log(usual)) / width) ** 2) / (width * math.sqrt(2 * math.pi))
        # A tenth is spread evenly over the rest, so that a catastrophe is not taken for an odd drift.
        weight = 0.9 * weight / weight.sum() + 0.1 / points
        return cls(theta, weight / weight.sum())


@lru_cache(maxsize=256)
def rouwenhorst(rho: float, states: int = GRID) -> tuple[Floats, Floats]:
    """Transition matrix of an AR(1) process of autocorrelation `rho`, and its stationary distribution (binomial); not to be written to."""
    p = (1 + rho) / 2
    step = np.array([[p, 1 - p], [1 - p, p]])
    for n in range(3, states + 1):
        grown = np.zeros((n, n))
        grown[:-1, :-1] += p * step
        grown[:-1, 1:] += (1 - p) * step
        grown[1:, :-1] += (1 - p) * step
        grown[1:, 1:] += p * step
        grown[1:-1] /= 2
        step = grown
    binomial = [math.comb(states - 1, k) / 2 ** (states - 1) for k in range(states)]
    return step, np.array(binomial)


def log_likelihood_of_counts(treated: ArrayLike, control: ArrayLike, log_odds: Floats) -> Floats:
    """Log-likelihood of `treated` among `treated + control` bad events at these log-odds, without the constant."""
    return np.asarray(
        treated * _special().log_expit(log_odds) + control * _special().log_expit(-log_odds), dtype=np.float64
    )


@dataclass
class EProcess:
    """The running evidence under one speed of drift; `shape` is that of the rollouts judged side by side (`()` for one).

    `tau` is the drift's correlation time in seconds (`FIXED`: it stands still).
    """

    tau: float
    harm: Harm
    shape: tuple[int, ...] = ()
    _states: Floats = field(init=False)
    _log_marginal: Floats = field(init=False)
    _theta: Floats = field(init=False)

    def __post_init__(self) -> None:
        self._theta = np.concatenate([[0.0], self.harm.theta])
        stationary = rouwenhorst(1.0)[1]
        self._states = np.broadcast_to(stationary, (*self.shape, self._theta.size, GRID)).copy()
        self._log_marginal = np.zeros((*self.shape, self._theta.size))

    @property
    def log_e(self) -> Floats:
        """Logarithm of the e-value so far; 0 before the first look."""
        harm = _special().logsumexp(self._log_marginal[..., 1:], b=self.harm.weight, axis=-1)
        return np.asarray(harm - self._log_marginal[..., 0], dtype=np.float64)

    @property
    def log_posterior(self) -> Floats:
        """Log-weight of "no harm" (first) and of each harmful effect, given equal odds of harm and no harm; sums to 1."""
        prior = np.concatenate([[0.5], 0.5 * self.harm.weight])
        joint = self._log_marginal + np.log(prior)
        return np.asarray(joint - _special().logsumexp(joint, axis=-1, keepdims=True), dtype=np.float64)

    def _moved(self, seconds: float) -> Floats:
        if self.tau == FIXED:
            return self._states
        step = rouwenhorst(round(math.exp(-seconds / self.tau), 6))[0]
        return np.asarray(self._states @ step, dtype=np.float64)

    def _take(self, log_likelihood: Floats, seconds: float) -> None:
        """Weigh the states with a look; the likelihood's peak is taken out first, so that nothing underflows where it matters."""
        peak = log_likelihood.max(axis=(-1, -2), keepdims=True)
        joint = self._moved(seconds) * np.exp(log_likelihood - peak) + TINY
        total = joint.sum(axis=-1, keepdims=True)
        self._states = joint / total
        self._log_marginal = self._log_marginal + (np.log(total) + peak)[..., 0]

    def _delta(self, s: ArrayLike) -> Floats:
        """The grid of delta: `theta` of each hypothesis plus each state of the drift."""
        z = np.linspace(-math.sqrt(GRID - 1), math.sqrt(GRID - 1), GRID)
        return self._theta[:, None] + np.asarray(s)[..., None, None] * z

    def count(self, treated: ArrayLike, control: ArrayLike, log_odds: ArrayLike, s: ArrayLike, seconds: float) -> None:
        """Take a look at counts.

        `log_odds` is log(A / C); `s` the drift's standard deviation of the groups' log-ratio; `seconds` since the last look.
        """
        at = np.asarray(log_odds)[..., None, None] + self._delta(s)
        self._take(
            log_likelihood_of_counts(np.asarray(treated)[..., None, None], np.asarray(control)[..., None, None], at),
            seconds,
        )

    def measure(self, difference: ArrayLike, noise: ArrayLike, s: ArrayLike, seconds: float) -> None:
        """Take a look at durations: `difference` of log-ratios (treated - control) whose own measuring noise has this standard deviation."""
        residual = np.asarray(difference)[..., None, None] - self._delta(s)
        self._take(np.asarray(-0.5 * (residual / np.asarray(noise)[..., None, None]) ** 2), seconds)


def smallest(processes: Sequence[EProcess]) -> Floats:
    """The log-e-value that holds whatever the speed of drift is: the smallest."""
    return np.asarray(np.min([one.log_e for one in processes], axis=0), dtype=np.float64)


def average(log_e: Sequence[float]) -> float:
    """Evidence of several measures of the same tenants, which depend on each other in unknown ways: the mean of e-values is an e-value, at any
    moment at which all of them are (Vovk & Wang, E-values: calibration, combination and applications, Annals of Statistics 2021).
    """
    return float(_special().logsumexp(np.asarray(log_e)) - math.log(len(log_e)))


def _special() -> ModuleType:
    """scipy.special, once somebody judges by a control group: it takes 20 MB, which most processes never need."""
    from scipy import special

    return special  # type: ignore[no-any-return]  # scipy has no types
