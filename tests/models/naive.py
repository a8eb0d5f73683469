"""The same decoder written as plainly as possible: one sequence at a time, all logits, no caches, nothing shared."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from posttrain_jax.models import config, rotary


def logits(model: config.ModelConfig, params, ids):
    """Logits `[length, V]` of one unpadded sequence."""
    x = params["embedding"][ids].astype(jnp.float32)
    for index in range(model.num_layers):
        x = _layer(model, {name: w[index] for name, w in params["blocks"].items()}, x)
    head = params["embedding"].T if model.tie_embeddings else params["head"]
    return _norm(x, params["final_norm"], model.norm_eps) @ head


def completion_stats(model, params, prompt, completion):
    """Log-probability and entropy of each token of `completion` behind `prompt`."""
    ids = jnp.concatenate([prompt, completion])
    log_probs = jax.nn.log_softmax(logits(model, params, ids)[len(prompt) - 1 : -1])
    logps = jnp.take_along_axis(log_probs, completion[:, None], axis=1)[:, 0]
    return logps, -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)


def _layer(model, w, x):
    h = _norm(x, w["attention_norm"], model.norm_eps)
    query = _heads(h @ w["query"] + _bias(w, "query_bias"), model.num_heads)
    key = _heads(h @ w["key"] + _bias(w, "key_bias"), model.num_kv_heads)
    value = _heads(h @ w["value"] + _bias(w, "value_bias"), model.num_kv_heads)
    if model.qk_norm:
        query = _norm(query, w["query_norm"], model.norm_eps)
        key = _norm(key, w["key_norm"], model.norm_eps)
    query, key = _rotate(model, query), _rotate(model, key)
    repeat = model.num_heads // model.num_kv_heads
    key, value = jnp.repeat(key, repeat, axis=1), jnp.repeat(value, repeat, axis=1)
    scores = jnp.einsum("qhd,khd->hqk", query, key) / math.sqrt(model.head_dim)
    distance = jnp.arange(len(x))[:, None] - jnp.arange(len(x))[None]
    seen = distance >= 0 if model.sliding_window is None else (distance >= 0) & (distance < model.sliding_window)
    mixed = jnp.einsum("hqk,khd->qhd", jax.nn.softmax(jnp.where(seen[None], scores, -jnp.inf), axis=-1), value)
    x = x + mixed.reshape(len(x), -1) @ w["output"] + _bias(w, "output_bias")
    h = _norm(x, w["mlp_norm"], model.norm_eps)
    gated = jax.nn.silu(h @ w["gate"] + _bias(w, "gate_bias")) * (h @ w["up"] + _bias(w, "up_bias"))
    return x + gated @ w["down"] + _bias(w, "down_bias")


def _bias(w, name):
    return w[name][None] if name in w else 0.0


def _heads(x, count):
    return x.reshape(len(x), count, -1)


def _norm(x, scale, eps):
    scale = scale.reshape((1,) * (x.ndim - 1) + scale.shape)
    return x / jnp.sqrt(jnp.mean(x * x, axis=-1, keepdims=True) + eps) * scale


def _rotate(model, x):
    angle = jnp.arange(len(x), dtype=jnp.float32)[:, None] * jnp.asarray(rotary.frequencies(model), jnp.float32)[None]
    turn = jax.lax.complex(jnp.cos(angle), jnp.sin(angle))[:, None]
    half = x.shape[-1] // 2
    turned = jax.lax.complex(x[..., :half], x[..., half:]) * turn
    return jnp.concatenate([turned.real, turned.imag], axis=-1)


def token_stats(model, params, groups, *, temperature=1.0, kept_ids=None):
    """Log-probability and entropy `[P, G, T]` of each completion token, every sequence alone; 0 outside the mask."""
    ids = jnp.asarray(_joined(groups), jnp.int32)
    all_logits = jax.vmap(jax.vmap(lambda one: logits(model, params, one)))(ids)
    positions = groups.prompt_lengths[:, None, None] - 1 + jnp.arange(groups.completions.shape[2])[None, None]
    at = jnp.broadcast_to(positions, groups.completions.shape)[..., None]
    chosen = jnp.take_along_axis(all_logits, at, axis=2) / temperature
    if kept_ids is not None:
        kept = (kept_ids[..., None] == jnp.arange(chosen.shape[-1])[None, None, None, None]).any(-2)
        chosen = jnp.where(kept, chosen, -1e30)
    log_probs = jax.nn.log_softmax(chosen)
    logps = jnp.take_along_axis(log_probs, groups.completions[..., None], axis=3)[..., 0]
    entropy = -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)
    mask = groups.completion_mask
    return jnp.where(mask, logps, 0), jnp.where(mask, entropy, 0)


def _joined(groups):
    """Each completion right behind its own prompt, zeros behind it."""
    P, G, T = groups.completions.shape
    ids = np.zeros((P, G, groups.prompts.shape[1] + T), np.int32)
    for row, length in enumerate(np.asarray(groups.prompt_lengths)):
        ids[row, :, :length] = np.asarray(groups.prompts)[row, :length]
        ids[row, :, length : length + T] = np.asarray(groups.completions)[row]
    return ids
