"""Post-training of language models in JAX.

The names below are the public API; everything else is imported from its module, for instance
`from posttrain_jax.losses import advantage`. Names are loaded on first use, so that a reward's worker process, which needs
none of them, starts without JAX.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from posttrain_jax.recipes.likelihood.sft import SFT
    from posttrain_jax.recipes.policy.dapo import DAPO
    from posttrain_jax.recipes.policy.dr_grpo import DrGRPO
    from posttrain_jax.recipes.policy.grpo import GRPO
    from posttrain_jax.recipes.policy.rloo import RLOO
    from posttrain_jax.recipes.preference.dpo import DPO
    from posttrain_jax.types import Groups, LikelihoodBatch, PolicyBatch, PreferenceBatch, Rollout, TokenStats, TrainState

_MODULE_OF = {
    "SFT": "recipes.likelihood.sft",
    "DPO": "recipes.preference.dpo",
    "GRPO": "recipes.policy.grpo",
    "DrGRPO": "recipes.policy.dr_grpo",
    "DAPO": "recipes.policy.dapo",
    "RLOO": "recipes.policy.rloo",
    "Groups": "types",
    "LikelihoodBatch": "types",
    "PolicyBatch": "types",
    "PreferenceBatch": "types",
    "Rollout": "types",
    "TokenStats": "types",
    "TrainState": "types",
}

__all__ = [
    "DAPO",
    "DPO",
    "GRPO",
    "RLOO",
    "SFT",
    "DrGRPO",
    "Groups",
    "LikelihoodBatch",
    "PolicyBatch",
    "PreferenceBatch",
    "Rollout",
    "TokenStats",
    "TrainState",
]


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"posttrain_jax has no public name {name!r}; it has {', '.join(__all__)}.")
    return getattr(importlib.import_module(f"posttrain_jax.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
