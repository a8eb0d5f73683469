"""Optimizers: optax, told which parameter is a matrix, which is a table and which is a norm or bias."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import jax
import optax
from jaxtyping import PyTree
from optax import contrib


@runtime_checkable
class Schedule(Protocol):
    """A learning rate over steps."""

    def rate(self) -> optax.Schedule:
        """The function from updates done to learning rate."""
        ...


@dataclasses.dataclass(frozen=True)
class Constant:
    """A linear rise from 0 over `warmup_steps`, then `peak` for ever."""

    peak: float
    """Learning rate after the warm-up."""
    warmup_steps: int = 0
    """Updates of rising learning rate."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _check(self.peak, self.warmup_steps)

    def rate(self) -> optax.Schedule:
        """The function from updates done to learning rate."""
        rise = optax.linear_schedule(self.peak / (self.warmup_steps + 1), self.peak, self.warmup_steps)
        return optax.constant_schedule(self.peak) if self.warmup_steps == 0 else rise


@dataclasses.dataclass(frozen=True)
class Cosine:
    """A linear rise over `warmup_steps`, then half a cosine down to `final_fraction` of the peak at `total_steps`."""

    peak: float
    """Learning rate after the warm-up."""
    total_steps: int
    """Updates until the lowest learning rate, warm-up included."""
    warmup_steps: int = 0
    """Updates of rising learning rate."""
    final_fraction: float = 0.1
    """Last learning rate as a share of the peak."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, and a schedule without a descent."""
        _check(self.peak, self.warmup_steps)
        if not 0 <= self.warmup_steps < self.total_steps:
            raise ValueError(
                f"warmup_steps={self.warmup_steps} must be at least 0 and below total_steps={self.total_steps}:"
                " shorten the warm-up or lengthen the run."
            )

    def rate(self) -> optax.Schedule:
        """The function from updates done to learning rate."""
        fall = optax.cosine_decay_schedule(self.peak, self.total_steps - self.warmup_steps, self.final_fraction)
        rise = Constant(self.peak, self.warmup_steps).rate()
        return optax.join_schedules([rise, fall], [self.warmup_steps])


def _check(peak: float, warmup_steps: int) -> None:
    if not (peak >= 0 and math.isfinite(peak)):
        raise ValueError(f"a learning rate of {peak} would not descend: give a positive one.")
    if warmup_steps < 0:
        raise ValueError(f"warmup_steps={warmup_steps} must be at least 0.")


@dataclasses.dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay.

    Source: Loshchilov and Hutter 2017, arXiv:1711.05101, algorithm 2.
    """

    schedule: Constant | Cosine
    b1: float = 0.9
    """Decay of the mean of gradients."""
    b2: float = 0.999
    """Decay of the mean of squared gradients."""
    eps: float = 1e-8
    """Added to the root of the second moment."""
    weight_decay: float = 0.0
    """Share of a weight taken off per unit of learning rate; never of norms and biases."""
    max_grad_norm: float | None = 1.0
    """Gradients with a larger global norm are scaled down to it; None never scales."""

    def transformation(self) -> optax.GradientTransformation:
        """The optimizer without clipping."""
        return optax.adamw(
            self.schedule.rate(), self.b1, self.b2, self.eps, weight_decay=self.weight_decay, mask=decayed
        )


@dataclasses.dataclass(frozen=True)
class Lion:
    """The sign of an interpolated momentum; wants a 3 to 10 times smaller learning rate than AdamW.

    Source: Chen et al. 2023, arXiv:2302.06675, algorithm 2.
    """

    schedule: Constant | Cosine
    b1: float = 0.9
    """Weight of the momentum in the direction of the step."""
    b2: float = 0.99
    """Decay of the momentum."""
    weight_decay: float = 0.0
    """Share of a weight taken off per unit of learning rate; never of norms and biases."""
    max_grad_norm: float | None = 1.0
    """Gradients with a larger global norm are scaled down to it; None never scales."""

    def transformation(self) -> optax.GradientTransformation:
        """The optimizer without clipping."""
        return optax.lion(self.schedule.rate(), self.b1, self.b2, weight_decay=self.weight_decay, mask=decayed)


@dataclasses.dataclass(frozen=True)
class Muon:
    """Orthogonalised momentum for the matrices of the blocks; AdamW for embedding, head, norms and biases.

    Updates of a matrix are scaled to `consistent_rms`, so that one learning rate suits matrices and the rest.

    Source: Jordan et al. 2024 (github.com/KellerJordan/Muon); scaling from Liu et al. 2025, arXiv:2502.16982, eq. 4.
    """

    schedule: Constant | Cosine
    beta: float = 0.95
    """Decay of the momentum."""
    consistent_rms: float = 0.2
    """Root mean square of a matrix's update per unit of learning rate."""
    weight_decay: float = 0.0
    """Share of a weight taken off per unit of learning rate; never of norms and biases."""
    max_grad_norm: float | None = 1.0
    """Gradients with a larger global norm are scaled down to it; None never scales."""

    def transformation(self) -> optax.GradientTransformation:
        """The optimizer without clipping."""
        rate = self.schedule.rate()
        matrix = optax.chain(
            contrib.scale_by_muon(beta=self.beta, weight_dimension_numbers=dimension_numbers),
            optax.stateless(self._scale),
            optax.add_decayed_weights(self.weight_decay),
            optax.scale_by_learning_rate(rate),
        )
        # optax's own `muon` would decay norms and biases together with the tables
        rest = optax.adamw(rate, weight_decay=self.weight_decay, mask=decayed)
        return optax.partition({"matrix": matrix, "rest": rest}, kinds)

    def _scale(self, updates: PyTree, _: PyTree) -> PyTree:
        """Give orthogonal matrices, whose entries are about 1 / sqrt(max(in, out)), the root mean square asked for."""
        return jax.tree.map(lambda x: x * (self.consistent_rms * max(x.shape[-2:]) ** 0.5), updates)


@dataclasses.dataclass(frozen=True)
class Still:
    """Parameters that stay as they are."""

    def transformation(self) -> optax.GradientTransformation:
        """No update."""
        return optax.set_to_zero()


@dataclasses.dataclass(frozen=True)
class ByPart:
    """An optimizer of its own for each part of the parameters: of a policy and its critic, say.

    Gradients are clipped part by part.
    """

    parts: Mapping[str, "AdamW | Lion | Muon | Still"]
    """By the parameters' first name."""
    rest: "AdamW | Lion | Muon | Still" = Still()
    """Of all other parameters."""

    def transformation(self) -> optax.GradientTransformation:
        """The optimizers side by side."""
        own = {name: _chain(config) for name, config in self.parts.items()}
        return optax.partition({**own, "": _chain(self.rest)}, self._labels)

    def _labels(self, params: PyTree) -> PyTree:
        def label(path: tuple, _) -> str:
            first = jax.tree_util.keystr(path[:1], simple=True)
            return first if first in self.parts else ""

        missing = set(self.parts) - set(params)
        if missing:
            raise ValueError(f"optimizers are given for {sorted(missing)} and the parameters are {sorted(params)}.")
        return jax.tree.map_with_path(label, params)


Config = AdamW | Lion | Muon | Still | ByPart


@dataclasses.dataclass(frozen=True)
class Update:
    """The `update` of an optimizer that can be printed: a run stores what it was trained with, and compares."""

    config: Config

    def __call__(self, updates: PyTree, state: PyTree, params: PyTree | None = None) -> tuple[PyTree, PyTree]:
        """See `optax.TransformUpdateFn`."""
        return _chain(self.config).update(updates, state, params)


def make_optimizer(config: Config) -> optax.GradientTransformation:
    """The optax optimizer that `config` describes, behind clipping by the global norm of the gradients."""
    return optax.GradientTransformation(_chain(config).init, Update(config))


def _chain(config: Config) -> optax.GradientTransformation:
    if isinstance(config, Still | ByPart) or config.max_grad_norm is None:
        return config.transformation()
    return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), config.transformation())


def name_of(path: tuple) -> str:
    """The last name on the way to a parameter."""
    return jax.tree_util.keystr(path[-1:], simple=True)


def decayed(params: PyTree) -> PyTree:
    """True for parameters that weight decay may shrink: all but norms and biases.

    Decided by name, not by rank: blocks are stacked, so that their norms and biases have two dimensions.
    """
    return jax.tree.map_with_path(lambda path, _: not name_of(path).endswith(("norm", "bias")), params)


def kinds(params: PyTree) -> PyTree:
    """ "matrix" for the weights inside the blocks, "rest" for tables, norms and biases."""

    def kind(path: tuple, _) -> str:
        name = name_of(path)
        return "rest" if name in ("embedding", "head") or name.endswith(("norm", "bias")) else "matrix"

    return jax.tree.map_with_path(kind, params)


def dimension_numbers(matrices: PyTree) -> PyTree:
    """Muon's reading of stacked weights `[L, in, out]`: L matrices."""
    return jax.tree.map(lambda _: contrib.MuonDimensionNumbers(reduction_axis=-2, output_axis=-1), matrices)
