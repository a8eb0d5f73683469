"""What `tool_calls` learns with; what holds another method holds GRPO without a divergence: all stand on the same."""

from typing import Annotated

import tyro

from posttrain_jax import GRPO, OTC, SALT, GiGPO

PLAIN = GRPO(kl_coef=0.0)
Method = (
    GRPO
    | Annotated[GiGPO, tyro.conf.subcommand(default=GiGPO(recipe=PLAIN))]
    | Annotated[SALT, tyro.conf.subcommand(default=SALT(PLAIN))]
    | Annotated[OTC, tyro.conf.subcommand(default=OTC(prompts=2000, limit=5.0, recipe=PLAIN))]
)
