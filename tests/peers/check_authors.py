"""Losses of papers as their authors' code computes them, frozen for `tests/recipes/preference/test_authors.py`.

    python tests/peers/check_authors.py       # with torch installed

Each function states in a few lines what the named file computes, in float64, from the logits of the models over a
vocabulary of four words. Three pairs of completions of two to four tokens. Writes losses, and gradients by the policy's
logits. Where the file differs from the paper or from the recipe, the function says so.

DDRO's code (kidist-amde/ddro) is TRL's DPO with beta 0.4. Looked for twice, by method, author and names in code, and
not found: the authors' code of T-REG, HyPO, MAPL, GRAO, accelerated preference optimization, Curry-DPO, RE-PO
(its site has none) and implicit-reward SFT.
"""

import json
import math
from pathlib import Path

import torch
from torch.nn.functional import logsigmoid

OUT = Path(__file__).parents[1] / "fixtures" / "authors.json"
ROLES = "policy", "ref", "guide", "reverse"
LENGTHS = torch.tensor([[3, 2], [4, 3], [2, 4]])
MASK = (torch.arange(4) < LENGTHS[..., None]).double()
SIGNS = torch.tensor([1.0, -1.0])[:, None]
BETA = 0.5
PHRASES = torch.tensor([[[1, 0, 2, 0], [1, 0, 0, 0]], [[0, 1, 1, 0], [0, 0, 0, 0]], [[1, 2, 0, 0], [0, 1, 2, 2]]])
"""Of RRPO: 0 is text that both completions share."""
LEVELS = torch.tensor([[1, 2], [3, 3], [4, 2]])
"""Of TRPA: 1 is the best."""
GRADES = torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 1.0]])
CHANCES = torch.tensor([0.8, 0.55, 0.3])
"""Of SmPO: that the first of a pair is the better one."""


def said(given, role):
    """Log-probabilities of the given words, 0 behind a completion's end."""
    return given[role].log_softmax(-1).gather(-1, given["ids"][..., None])[..., 0] * MASK


def moved(given):
    """What the policy says more than the reference does, token by token."""
    return said(given, "policy") - said(given, "ref")


def apart(given):
    """KL(ref || policy) over the vocabulary, token by token."""
    ref, policy = given["ref"].log_softmax(-1), given["policy"].log_softmax(-1)
    return (ref.exp() * (ref - policy)).sum(-1) * MASK


def gap(rows):
    """First less second."""
    return rows[:, 0] - rows[:, 1]


def tdpo1(given):
    """Vance0124/Token-level-Direct-Preference-Optimization, trainers.py, `tdpo_loss`, if_tdpo2 false."""
    return -logsigmoid(BETA * (gap(moved(given).sum(-1)) + gap(apart(given).sum(-1)))).mean()


def tdpo2(given, alpha=0.7):
    """The same with if_tdpo2: the chosen completion's divergence has no gradient."""
    kl = apart(given).sum(-1)
    return -logsigmoid(BETA * (gap(moved(given).sum(-1)) + alpha * (kl[:, 0].detach() - kl[:, 1]))).mean()


def rrpo(given, alpha=0.05):
    """pritamqu/RRPO, llava/losses.py: phrases of the batch summed one by one, the divergence added."""
    phrases = torch.stack([(moved(given) * (one == PHRASES)).sum(-1) for one in (1, 2)])
    return (-logsigmoid(BETA * gap(phrases.sum(0))) + alpha * apart(given).sum(-1)[:, 0]).mean()


def sparse_po(given, reward_sparsity=0.2, kl_sparsity=0.1):
    """huawei-noah/HEBO, SparsePO/src/trainers/sparse_trainer.py; its divergences are negative, and so is their sign."""
    rewards, kls = given["reward_masks"] * MASK, given["kl_masks"] * MASK
    below = -kls * apart(given)
    logits = gap((rewards * moved(given)).sum(-1)) - gap(below.sum(-1))
    norms = reward_sparsity * rewards.abs().sum((1, 2)) + kl_sparsity * kls.abs().sum((1, 2))
    return (-logsigmoid(BETA * logits) + norms).mean()


def tgdpo(given, alpha=0.5):
    """dvlab-research/TGDPO, src/llamafactory/train/tgdpo/trainer.py; weights may be negative there, here none is."""
    weights = 1 + alpha * BETA * SIGNS * (said(given, "guide") - said(given, "ref"))
    assert (weights > 0).all()
    return -logsigmoid(BETA * gap((weights * moved(given)).sum(-1))).mean()


def wpo(given):
    """wzhouad/WPO, scripts/run_wpo.py: the product of the weights is held at 1."""
    policy = given["policy"].log_softmax(-1).detach()
    excess = (said(given, "policy").detach() - MASK * (policy.exp() ** 2).sum(-1).log()).sum(-1) / LENGTHS
    weights = torch.clamp(excess.sum(-1).exp(), max=1)
    assert 0 < (weights == 1).sum() < 3
    return -(weights * logsigmoid(BETA * gap(moved(given).sum(-1)))).mean()


def trpa(given, kappa=2.5, trust=0.3):
    """XueruiSu/Trust-Region-Preference-Approximation, verl/trainer/ppo/core_algos.py and workers/actor/dp_actor.py.

    A single micro-batch; the guide stands for the policy that sampled.
    """
    rho, found = moved(given).sum(-1) / LENGTHS, []
    for ratios, levels in zip(rho, LEVELS.tolist(), strict=True):
        for i, j in ((0, 1), (1, 0)):
            if levels[i] < levels[j]:
                found.append((kappa if levels[i] == 1 else 1) * BETA * (ratios[i] - ratios[j]))
    back = said(given, "guide") - said(given, "policy")
    held = torch.clamp(back.exp() - back - 1, -10, 10)
    return -logsigmoid(torch.stack(found)).mean() + trust * (held * MASK).sum() / MASK.sum()


def in_context_ranking_po(given):
    """rohan2810/In-context-Ranking-Preference-Optimization, trainers.py, `rdpo_loss`: mean of rivals, sum over rows.

    Its log-probabilities are read without the shift by one token; here with it.
    """
    rewards, gains = moved(given).sum(-1) / LENGTHS, (2**GRADES - 1) / torch.log2(torch.tensor([2.0, 3.0]))
    rivals = rewards[:, None, :] - rewards[:, :, None] - 100 * torch.eye(2)
    others = torch.logsumexp(BETA * rivals, -1) - math.log(2 - 1)
    return -(gains * logsigmoid(-others)).mean(-1).sum()


def align_distil(given, b1=0.1, c=2.0):
    """songmzhang/AlignDistil, OpenRLHF/openrlhf/trainer/aligndistil_offpolicy_trainer.py, with reward_len_norm.

    Of the chosen completions; its reference is the DPO model trained with pairs swapped.
    """
    good, bad = (given[role].log_softmax(-1)[:, 0] for role in ("guide", "reverse"))
    weights = c * (good.exp() - bad.exp()).abs().sum(-1) + 1e-3
    best = (weights[..., None] * (given["guide"] - given["reverse"])[:, 0] + given["guide"][:, 0]).log_softmax(-1)
    policy = given["policy"].log_softmax(-1)[:, 0]
    tokens = b1 / weights * (policy.exp() * (policy - best)).sum(-1) * MASK[:, 0]
    return (tokens.sum(-1) / LENGTHS[:, 0]).mean()


def smoothed_dpo(given):
    """JaydenLyh/SmPO, train.py, with one pair a micro-batch; -2 log-probabilities stand for denoising errors."""
    errors, ref_errors = -2 * said(given, "policy").sum(-1), -2 * said(given, "ref").sum(-1)
    return -logsigmoid(-0.5 * BETA * (2 * CHANCES - 1) * 10 * (gap(errors) - gap(ref_errors))).mean()


def rationale_po(given, gamma=0.1):
    """reds-lab/preference-learning-with-rationales, trainers.py, `RDPOTrainer`: a sum of tokens within a log-sigmoid.

    The second row of pairs is the rationale of the first here; the recipe has the paper's form.
    """
    pair, rationale = gap(moved(given).sum(-1))[:1], said(given, "policy")[1:2, 0].sum(-1)
    return (-logsigmoid(BETA * pair) - logsigmoid(gamma * rationale)).mean()


def beta_dpo(given, gain=0.6):
    """junkangwu/beta-DPO, trainers.py, all pairs kept, the first step: averages are updated before they are used."""
    margins = gap(moved(given).sum(-1))
    mean = 0.1 * margins.mean().detach()
    beta = torch.clamp(BETA * (1 + gain * (margins.mean().detach() - mean)), min=1e-3)
    return -logsigmoid(beta * margins).mean()


def longpo(given, weight=0.2):
    """DAMO-NLP-SG/LongPO, train/longdpo_trainer.py, `LongDPOFullMTJointUlyssesTrainer`, turns of one document joined.

    The guide stands for the reference after the short prompt.
    """
    policy, short = said(given, "policy"), said(given, "guide")
    preference = -logsigmoid(BETA * gap((policy - short).sum(-1))).mean()
    return (-policy[:, 0].sum(-1) / LENGTHS[:, 0]).mean() + weight * preference


def length_regularized_dpo(given, alpha=0.3):
    """LuJunru/SamPO, dpo_trainer.py, "lenN": the plus before chosen tokens. Not by the paper's authors."""
    return -logsigmoid(BETA * gap(moved(given).sum(-1)) + alpha * gap(LENGTHS)).mean()


def dpop(given, penalty=2.0):
    """LuJunru/SamPO, dpo_trainer.py, "dpop": within the sigmoid, times beta. Not by the paper's authors."""
    ratios = moved(given).sum(-1)
    return -logsigmoid(BETA * (gap(ratios) - penalty * torch.relu(-ratios[:, 0]))).mean()


def slic_hf(given, margin=1.5, weight=0.2):
    """reds-lab/preference-learning-with-rationales, trainers.py, `SLiCTrainer`: the likelihood is of y_w, summed."""
    chosen, rejected = said(given, "policy").sum(-1).T
    return (torch.clamp(margin - chosen + rejected, min=0) - weight * chosen).mean()


def rationale_orpo(given, beta=0.3, gamma=0.1):
    """The same file, `SimpleRORPOTrainer`: the paper's form, per token. Of the first row, with a rationale as above."""
    means = said(given, "policy").sum(-1) / LENGTHS
    odds = means[0] - torch.log1p(-means[0].exp())
    return -means[0, 0] - beta * logsigmoid(odds[0] - odds[1]) - gamma * means[1, 0]


LOSSES = (tdpo1, tdpo2, rrpo, sparse_po, tgdpo, wpo, trpa, in_context_ranking_po)
LOSSES += (align_distil, smoothed_dpo, beta_dpo, longpo, length_regularized_dpo, dpop, slic_hf)
LOSSES += (rationale_po, rationale_orpo)


def rounded(x, decimals=9):
    """As lists."""
    return x.detach().round(decimals=decimals).tolist()


def main() -> None:
    """Write `OUT`."""
    torch.set_default_dtype(torch.float64)
    random = torch.Generator().manual_seed(4)
    logits = torch.randn(len(ROLES), 3, 2, 4, 4, generator=random).round(decimals=4)
    given = dict(zip(ROLES, logits, strict=True)) | {"ids": torch.randint(4, (3, 2, 4), generator=random)}
    given |= dict(
        zip(("reward_masks", "kl_masks"), torch.rand(2, 3, 2, 4, generator=random).round(decimals=4), strict=True)
    )
    frozen = {name: x.tolist() for name, x in given.items()} | {"results": {}}
    for loss in LOSSES:
        leaf = given["policy"].clone().requires_grad_()
        value = loss(given | {"policy": leaf})
        value.backward()
        frozen["results"][loss.__name__] = {"loss": value.item(), "gradient": rounded(leaf.grad)}
    OUT.write_text(json.dumps(frozen) + "\n")


if __name__ == "__main__":
    main()
