"""The recipes of `preference_frontier`, and what each is told of the data."""

import dataclasses
from collections.abc import Callable
from typing import Any

import preference_rows
from preference_rows import Rows

import posttrain_jax as pt
from posttrain_jax import types
from posttrain_jax.losses import generator


@dataclasses.dataclass(frozen=True)
class Setting:
    """A recipe and what it is told."""

    recipe: Any
    told: Callable[[Rows], tuple[types.Groups, Rows]] = preference_rows.compared
    size: int = 2
    """Completions that are ranked."""
    guide: "Setting | None" = None
    """Trained before on the same data; its policy is the fixed model `guide`."""
    note: str = ""
    """What tells it from another setting of the recipe."""


LINKS = [pt.DPO(), pt.IPO(), pt.HingeDPO(), pt.SLiCHF(), pt.SimPO(), pt.CPO()]
LINKS += [pt.ORPO(), pt.AlphaPO(), pt.ChiPO(), pt.EXO(), pt.NCA(), pt.DPOP(), pt.BCOPair(), pt.AnchoredPOZero()]
LINKS += [pt.AnchoredPODown(), pt.DiscoPOP(), pt.NLLRegularizedDPO(), pt.ReferenceClippedDPO(), pt.SPPO()]
LINKS += [pt.FDPO(generator.jensen_shannon()), pt.AOTPaired(), pt.AOTUnpaired(), pt.BetaDPO(), pt.OffsetDPO()]
LINKS += [pt.SmoothedDPO(sharpness=1.0), pt.LCPO(pt.DPO(beta=1.0)), pt.WPO(pt.DPO(beta=1.0)), pt.TDPO1(), pt.TDPO2()]
LINKS += [pt.RRPO(), pt.SparsePO(), pt.ActivationMaskPO(), pt.TREG(), pt.TREGSimPO(), pt.LongPO(preference_coef=1.0)]
LINKS += [pt.LengthNormalizedDPO(), pt.LengthRegularizedDPO(), pt.LengthDesensitizedDPO()]
SETTINGS = [Setting(recipe) for recipe in LINKS]
SETTINGS += [Setting(kind(label_noise=0.2), note="label_noise=0.2") for kind in (pt.RobustDPO, pt.DPO)]
SETTINGS += [Setting(pt.SPPO(), preference_rows.judged, note="win rates"), Setting(pt.DNO(), preference_rows.judged)]
SETTINGS += [Setting(pt.TGDPO(), guide=Setting(pt.DPO(beta=1.0)))]
SETTINGS += [Setting(recipe, preference_rows.apart) for recipe in (pt.KTO(), pt.BCO())]
SETTINGS += [Setting(recipe, size=4) for recipe in (pt.PlackettLuceDPO(), pt.GEPO(), pt.InContextRankingPO())]


def unit(setting: Setting) -> Setting:
    """The recipe with beta 1, which suits rewards of deviation 1, where it has one; f-DPO 2: its JS is twice ours."""
    recipe, beta = setting.recipe, 1.0 + isinstance(setting.recipe, pt.FDPO)
    return dataclasses.replace(
        setting, recipe=dataclasses.replace(recipe, beta=beta) if "beta" in vars(recipe) else recipe
    )


def title(setting: Setting) -> str:
    """The recipe's name, and what tells it from others."""
    return type(setting.recipe).__name__ + (f", {setting.note}" if setting.note else "")
