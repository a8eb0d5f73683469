"""Every policy-gradient recipe on the same small tasks, from the same start, over several seeds and learning rates.

python experiments/policy_arena.py

14 minutes on two cores: table and picture of docs/policy_arena.md. `--only GRPO DAPO` takes these recipes alone.
"""

import concurrent.futures
import dataclasses
import functools
import pathlib

import arena
import arena_chart
import arena_preference
import arena_recipe
import arena_selection
import arena_start
import arena_train
import jax
import jax.numpy as jnp
import numpy as np

from posttrain_jax.train import command


@dataclasses.dataclass(frozen=True)
class Config:
    """The start and the training."""

    folder: pathlib.Path = pathlib.Path("runs/policy_arena")
    only: tuple[str, ...] = ()
    """Names of recipes; without any, all."""
    seeds: int = 8
    rates: tuple[float, ...] = (0.01, 0.03, 0.1)
    """Of Adam; of each recipe the one is reported that ends with the highest accuracy on training prompts."""
    steps: int = 100
    prompts: int = 8
    group_size: int = 8
    pretraining: int = 1000
    noise: float = 0.1
    """Share of random words that the start learned from."""


def main(config: Config) -> None:
    """Train, draw, write the table."""
    config.folder.mkdir(parents=True, exist_ok=True)
    names = {type(x.recipe).__name__ for x in arena_recipe.ENTRIES}
    if unknown := set(config.only) - names:
        raise ValueError(f"there are no recipes {sorted(unknown)} here: choose among {', '.join(sorted(names))}.")
    start = jax.jit(arena_start.pretrain, static_argnums=1, compiler_options=arena.QUICK)(
        jax.random.key(0), config.pretraining, config.noise
    )
    dpo = jax.jit(arena_preference.prefer, static_argnums=2)(jax.random.key(2), start, 100)
    one = functools.partial(arena_start.measured, start)
    measure = jax.jit(jax.vmap(jax.vmap(jax.vmap(one, (0, None))), (0, None)), compiler_options=arena.QUICK)
    keys = jax.random.split(jax.random.key(1), config.seeds)

    def run(entry):
        train = arena_train.train if entry.selection is None else arena_selection.train
        sizes = (config.steps, config.prompts, config.group_size)
        params, tokens = train(entry, {"ref": start, "dpo": dpo}, keys, config.rates, sizes)
        end = arena_chart.End(entry, config.rates, np.asarray(measure(params, keys)), np.asarray(tokens))
        print(f"{end.accuracy():.3f} {end.title()}", flush=True)
        return end

    chosen = [x for x in arena_recipe.ENTRIES if not config.only or type(x.recipe).__name__ in config.only]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        ends = sorted(pool.map(run, chosen), key=arena_chart.End.accuracy, reverse=True)
    shape = len(config.rates), config.seeds, config.steps // 10
    first = np.asarray(measure(jax.tree.map(lambda x: jnp.broadcast_to(x, (*shape, *x.shape)), start), keys))[0, 0, 0]
    arena_chart.draw(ends, first).savefig(config.folder / "policy_arena.png", dpi=80)
    (config.folder / "policy_arena.md").write_text(arena_chart.table(ends, first), encoding="utf-8")
    print(arena_chart.table(ends, first), end="")


if __name__ == "__main__":
    command.alone(main, Config)
