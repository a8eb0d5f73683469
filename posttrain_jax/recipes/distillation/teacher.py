"""What a teacher says of the completions that its student sampled."""

from jaxtyping import Array, Float

from posttrain_jax import types


def logps(rollout: types.Rollout, lookup: types.Lookup) -> Float[Array, "P G T"]:
    """The teacher's log-probabilities, in nats; of the tokens that the student could choose from, if not from all.

    Raises:
        ValueError: the loop was given no model of the role `teacher`.
    """
    if "teacher" not in lookup.fixed:
        raise ValueError("there is no teacher: give the loop one, Online(fixed={'teacher': reference.Fixed(...)}).")
    return lookup.fixed["teacher"](rollout.groups, rollout.kept_ids).logps
