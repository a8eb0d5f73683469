"""GRPO with Tunix and its own rollout engine; run by `compare.py`."""
# pyright: reportMissingImports=false

import numpy as np
import optax
import tunix_model
import workload
from transformers import AutoTokenizer
from tunix.rl import rl_cluster
from tunix.rl.grpo.grpo_learner import GRPOConfig, GRPOLearner
from tunix.rl.rollout.base_rollout import RolloutConfig

folder, w = workload.given()
stamps: list[tuple[float, float]] = []


def reward(prompts, completions, **_):
    return [workload.reward(completion) for completion in completions]


roles = (rl_cluster.Role.ACTOR, rl_cluster.Role.REFERENCE, rl_cluster.Role.ROLLOUT)
training = rl_cluster.RLTrainingConfig(
    actor_optimizer=optax.adamw(1e-5),
    eval_every_n_steps=10**6,
    max_steps=w.steps,
    mini_batch_size=w.prompts,
    train_micro_batch_size=w.prompts,
)
rollout = RolloutConfig(
    max_tokens_to_generate=w.completion_len,
    max_prompt_length=w.prompt_len,
    temperature=1.0,
    top_p=1.0,
    kv_cache_size=2 * (w.prompt_len + w.completion_len),
    eos_tokens=[2],
)
cluster = rl_cluster.RLCluster(
    actor=tunix_model.make(w),
    reference=tunix_model.make(w),
    tokenizer=AutoTokenizer.from_pretrained(folder),
    cluster_config=rl_cluster.ClusterConfig(
        role_to_mesh=dict.fromkeys(roles, tunix_model.mesh),
        rollout_engine="vanilla",
        training_config=training,
        rollout_config=rollout,
    ),
)
generate = cluster.generate


def stamped(*arguments, **options):
    stamps.append(workload.now())  # a step begins with its rollout
    return generate(*arguments, **options)


cluster.generate = stamped
learner = GRPOLearner(
    rl_cluster=cluster, reward_fns=reward, algo_config=GRPOConfig(num_generations=w.group_size, beta=0.04)
)
# Tunix puts a BOS in front: one word less makes the same length.
prompts = workload.prompts(w, w.prompts * w.steps, w.prompt_len - 1)
learner.train([{"prompts": np.array(prompts[i :: w.steps])} for i in range(w.steps)])
stamps.append(workload.now())
tokens = w.prompts * w.group_size * (w.prompt_len + w.completion_len)
workload.report("tunix_grpo", stamps, tokens, ("google-tunix", "jax"))
