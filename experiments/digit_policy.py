"""A policy that knows the rules of `digit_task` and learns which one an instruction means: one layer of attention.

Candidates are what each rule would say next and every word by itself; the weights of attention over them are the
distribution. A rule's score is instruction times key, and more as long as the words so far are what it says. Nothing
else of the digits is seen, so whatever is learned holds for digits never trained on.
"""

import digit_task
import jax
import jax.numpy as jnp

from posttrain_jax import types

WIDTH = 8
CRITIC = ("worth", "places")
"""The parameters that only the values need."""


def init(key):
    """Small random weights."""
    keys = jax.random.split(key)
    return {
        "instructions": jax.random.normal(keys[0], (digit_task.TASKS, WIDTH)) / WIDTH**0.5,
        "rules": jax.random.normal(keys[1], (WIDTH, digit_task.TASKS)) / WIDTH**0.5,
        "followed": jnp.ones(digit_task.LENGTH),
        "words": jnp.full((digit_task.LENGTH, digit_task.WORDS), -2.0),
        "worth": jnp.zeros((WIDTH, digit_task.TASKS)),
        "places": jnp.zeros(digit_task.LENGTH),
    }


def attend(params, numbers, followed, places):
    """Log-probabilities of the next word [P, G, t, V] and the critic's value [P, G, t].

    Args:
        numbers: of the prompts.
        followed: which rules said all words before [P, G, t, rules].
        places: of the words to come [t].
    """
    asked = params["instructions"][numbers // 1000]
    rules = (asked @ params["rules"])[:, None, None] + params["followed"][places][None, None, :, None] * followed
    words = jnp.broadcast_to(params["words"][places][None, None], (*followed.shape[:3], digit_task.WORDS))
    shares = jax.nn.softmax(jnp.concatenate([rules, words], axis=-1))
    said = jax.nn.one_hot(jnp.asarray(digit_task.SAYS)[numbers % 1000], digit_task.WORDS)[:, :, places]
    mixed = jnp.einsum("pgtk,pktv->pgtv", shares[..., : digit_task.TASKS], said) + shares[..., digit_task.TASKS :]
    values = jnp.einsum("pgtk,pk->pgt", shares[..., : digit_task.TASKS], asked @ params["worth"])
    return jnp.log(mixed + 1e-9), values + params["places"][places][None, None]


def log_probs(params, groups):
    """Of all words at every place [P, G, T, V], and the critic's values."""
    numbers, words = groups.group_ids, groups.completions
    agree = words[..., None] == jnp.swapaxes(jnp.asarray(digit_task.SAYS)[numbers % 1000], 1, 2)[:, None]
    before = jnp.cumprod(agree.astype(jnp.float32), axis=2)[:, :, :-1]
    followed = jnp.concatenate([jnp.ones_like(agree[:, :, :1], jnp.float32), before], axis=2)
    return attend(params, numbers, followed, jnp.arange(digit_task.LENGTH))


def stats(params, groups, kept_ids=None, comparisons=None):
    """What the policy says of completions."""
    (said, values), mask = log_probs(params, groups), groups.completion_mask
    chosen = jnp.take_along_axis(said, groups.completions[..., None], axis=-1)[..., 0]
    entropy = -jnp.sum(jnp.exp(said) * said, axis=-1)
    chosen, entropy, values = (jnp.where(mask, x, 0) for x in (chosen, entropy, values))
    return types.TokenStats(chosen, entropy, values)


def sample(params, numbers, size, arranged, key):
    """Completions [P, G, T], drawn as the recipe wants them."""
    says, rows = jnp.asarray(digit_task.SAYS)[numbers % 1000], len(numbers)
    likeliest, leaders = jnp.asarray(arranged.likeliest(size)), jnp.asarray(arranged.leaders(size, digit_task.LENGTH))

    def draw(followed, at):
        place, key = at
        said, _ = attend(params, numbers, followed[:, :, None], place[None])
        luck = jnp.where(likeliest[None, :, None], 0, jax.random.gumbel(key, (rows, size, digit_task.WORDS)))
        words = jnp.argmax(said[:, :, 0] + luck, axis=-1)[:, leaders[place]]
        return followed * (words[..., None] == says[:, None, :, place]), words

    first, places = jnp.ones((rows, size, digit_task.TASKS)), jnp.arange(digit_task.LENGTH)
    _, words = jax.lax.scan(draw, first, (places, jax.random.split(key, digit_task.LENGTH)))
    return jnp.moveaxis(words, 0, -1)
