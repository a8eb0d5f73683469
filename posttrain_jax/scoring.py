"""What a model says that says numbers in the place of words (`posttrain_jax.models.scalar_model`)."""

from jaxtyping import Array, Float

from posttrain_jax import pytree


@pytree.struct
class Scores:
    """What a reward model says of given tokens, in the place of `types.TokenStats`."""

    tokens: Float[Array, "P G T d"]
    """d numbers after each token, 0 where `completion_mask` is False; those after a completion's last are its score."""
    gates: Float[Array, "P k"] | None = None
    """Of the prompts, where the model has a gate."""
