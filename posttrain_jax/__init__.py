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
    from posttrain_jax.recipes.preference.alpha_po import AlphaPO
    from posttrain_jax.recipes.preference.anchored_po_down import AnchoredPODown
    from posttrain_jax.recipes.preference.anchored_po_zero import AnchoredPOZero
    from posttrain_jax.recipes.preference.aot_paired import AOTPaired
    from posttrain_jax.recipes.preference.aot_unpaired import AOTUnpaired
    from posttrain_jax.recipes.preference.bco import BCO
    from posttrain_jax.recipes.preference.bco_pair import BCOPair
    from posttrain_jax.recipes.preference.beta_dpo import BetaDPO
    from posttrain_jax.recipes.preference.chi_po import ChiPO
    from posttrain_jax.recipes.preference.cpo import CPO
    from posttrain_jax.recipes.preference.discopop import DiscoPOP
    from posttrain_jax.recipes.preference.dpo import DPO
    from posttrain_jax.recipes.preference.dpop import DPOP
    from posttrain_jax.recipes.preference.exo import EXO
    from posttrain_jax.recipes.preference.f_dpo import FDPO
    from posttrain_jax.recipes.preference.hinge_dpo import HingeDPO
    from posttrain_jax.recipes.preference.ipo import IPO
    from posttrain_jax.recipes.preference.kto import KTO
    from posttrain_jax.recipes.preference.length_desensitized_dpo import LengthDesensitizedDPO
    from posttrain_jax.recipes.preference.length_normalized_dpo import LengthNormalizedDPO
    from posttrain_jax.recipes.preference.length_regularized_dpo import LengthRegularizedDPO
    from posttrain_jax.recipes.preference.nca import NCA
    from posttrain_jax.recipes.preference.nll_regularized_dpo import NLLRegularizedDPO
    from posttrain_jax.recipes.preference.offset_dpo import OffsetDPO
    from posttrain_jax.recipes.preference.orpo import ORPO
    from posttrain_jax.recipes.preference.plackett_luce_dpo import PlackettLuceDPO
    from posttrain_jax.recipes.preference.reference_clipped_dpo import ReferenceClippedDPO
    from posttrain_jax.recipes.preference.robust_dpo import RobustDPO
    from posttrain_jax.recipes.preference.simpo import SimPO
    from posttrain_jax.recipes.preference.slic_hf import SLiCHF
    from posttrain_jax.recipes.preference.sppo import SPPO
    from posttrain_jax.types import (
        Groups,
        LabelledBatch,
        LikelihoodBatch,
        PolicyBatch,
        PreferenceBatch,
        Rollout,
        TokenStats,
        TrainState,
    )

_MODULE_OF = {
    "SFT": "recipes.likelihood.sft",
    "DPO": "recipes.preference.dpo",
    "BetaDPO": "recipes.preference.beta_dpo",
    "AOTUnpaired": "recipes.preference.aot_unpaired",
    "AOTPaired": "recipes.preference.aot_paired",
    "BCO": "recipes.preference.bco",
    "KTO": "recipes.preference.kto",
    "PlackettLuceDPO": "recipes.preference.plackett_luce_dpo",
    "SPPO": "recipes.preference.sppo",
    "OffsetDPO": "recipes.preference.offset_dpo",
    "BCOPair": "recipes.preference.bco_pair",
    "ReferenceClippedDPO": "recipes.preference.reference_clipped_dpo",
    "LengthDesensitizedDPO": "recipes.preference.length_desensitized_dpo",
    "AnchoredPODown": "recipes.preference.anchored_po_down",
    "AnchoredPOZero": "recipes.preference.anchored_po_zero",
    "LengthNormalizedDPO": "recipes.preference.length_normalized_dpo",
    "NCA": "recipes.preference.nca",
    "DPOP": "recipes.preference.dpop",
    "LengthRegularizedDPO": "recipes.preference.length_regularized_dpo",
    "AlphaPO": "recipes.preference.alpha_po",
    "NLLRegularizedDPO": "recipes.preference.nll_regularized_dpo",
    "ORPO": "recipes.preference.orpo",
    "CPO": "recipes.preference.cpo",
    "SimPO": "recipes.preference.simpo",
    "SLiCHF": "recipes.preference.slic_hf",
    "DiscoPOP": "recipes.preference.discopop",
    "EXO": "recipes.preference.exo",
    "FDPO": "recipes.preference.f_dpo",
    "ChiPO": "recipes.preference.chi_po",
    "HingeDPO": "recipes.preference.hinge_dpo",
    "IPO": "recipes.preference.ipo",
    "RobustDPO": "recipes.preference.robust_dpo",
    "GRPO": "recipes.policy.grpo",
    "DrGRPO": "recipes.policy.dr_grpo",
    "DAPO": "recipes.policy.dapo",
    "RLOO": "recipes.policy.rloo",
    "Groups": "types",
    "LabelledBatch": "types",
    "LikelihoodBatch": "types",
    "PolicyBatch": "types",
    "PreferenceBatch": "types",
    "Rollout": "types",
    "TokenStats": "types",
    "TrainState": "types",
}

__all__ = [
    "BCO",
    "CPO",
    "DAPO",
    "DPO",
    "DPOP",
    "EXO",
    "FDPO",
    "GRPO",
    "IPO",
    "KTO",
    "NCA",
    "ORPO",
    "RLOO",
    "SFT",
    "SPPO",
    "AOTPaired",
    "AOTUnpaired",
    "AlphaPO",
    "AnchoredPODown",
    "AnchoredPOZero",
    "BCOPair",
    "BetaDPO",
    "ChiPO",
    "DiscoPOP",
    "DrGRPO",
    "Groups",
    "HingeDPO",
    "LabelledBatch",
    "LengthDesensitizedDPO",
    "LengthNormalizedDPO",
    "LengthRegularizedDPO",
    "LikelihoodBatch",
    "NLLRegularizedDPO",
    "OffsetDPO",
    "PlackettLuceDPO",
    "PolicyBatch",
    "PreferenceBatch",
    "ReferenceClippedDPO",
    "RobustDPO",
    "Rollout",
    "SLiCHF",
    "SimPO",
    "TokenStats",
    "TrainState",
]


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"posttrain_jax has no public name {name!r}; it has {', '.join(__all__)}.")
    return getattr(importlib.import_module(f"posttrain_jax.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
