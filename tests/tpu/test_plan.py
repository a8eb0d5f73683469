"""What the kernels compute, by hand; and two plans by the TPU compiler, where it is installed."""

import importlib.util
import pathlib

import chip
import hlo
import kernel
import phase
import pytest

from posttrain_jax.models import sharding, splash

ROOT = pathlib.Path(__file__).parents[2]
needs_compiler = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="the TPU compiler is not installed: `make plan` installs it.",
)

KERNEL = """
ENTRY %main (q: bf16[1,2,2048,128], k: bf16[1,2560,128]) -> bf16[1,2,2048,128] {
  %grid = s8[1,4,3]{2,1,0} constant({...})
  %q = bf16[1,2,2048,128]{3,2,1,0} parameter(0)
  %k = bf16[1,2560,128]{2,1,0} parameter(1)
  ROOT %splash_mqa_fwd_segmented_residuals.1 = bf16[1,2,2048,128]{3,2,1,0} custom-call(%grid, %q, %k, %k), \
custom_call_target="tpu_custom_call", frontend_attributes={kernel_metadata={
"xprof_metadata":"{}"
}}, metadata={op_name="x"}
}
"""


def test_kernels_run_the_blocks_in_which_anything_is_seen():
    """Causal over two blocks: 3 of 4. Two completions of two blocks behind a prompt of one: 4 + 2 x 3 of 20."""
    assert kernel.seen_blocks(*splash.layout(0, 1, 1024, None)) == 3
    assert kernel.seen_blocks(*splash.layout(512, 2, 1024, None)) == 10


def test_work_of_a_kernel_by_hand():
    flops, traffic, calls = kernel.count(hlo.parse(KERNEL), kernel.masks(512, 2, 1024, None))
    assert calls == 1
    assert flops == 2 * 2 * (2 * 10) * 512 * 512 * 128  # two products, two heads, ten blocks
    assert traffic == 2 * (2 * 10) * 512 * 128 * 2  # keys and values of each block, in bfloat16
    with pytest.raises(ValueError, match=r"attends over \(2048, 2560\), which is none of"):
        kernel.count(hlo.parse(KERNEL), kernel.masks(512, 2, 512, None))


def test_an_unknown_chip_is_refused():
    assert chip.of("TPU v5").flops == 459e12
    with pytest.raises(ValueError, match="no peaks are known for 'TPU v99'"):
        chip.of("TPU v99")


def test_sizes_hold_tokens():
    with pytest.raises(ValueError, match="group_size is 0"):
        phase.Sizes(groups=1, group_size=0, prompt_len=1, completion_len=1)


@needs_compiler
def test_a_plan_of_all_phases(capsys):
    import plan

    sizes = phase.Sizes(groups=8, group_size=2, prompt_len=128, completion_len=128)
    model = ROOT / "tests" / "fixtures" / "qwen2"
    config = plan.Config(model, "v5e:2x2", sizes, sharding.MeshShape(tensor=2), micro_batches=2)
    done = {one.name: one for one in plan.main(config)}
    assert list(done) == ["generate", "score", "update"]
    assert all(one.bytes < 2**30 for one in done.values())
    assert done["score"].kernels[2] == 2  # prompts, completions
    assert done["generate"].work.at_most
    assert not done["update"].work.at_most
    # No weight is gathered anew for each token.
    assert not [x for x in done["generate"].work.collectives if x.kind == "all-gather" and x.inside_loop]
    said = capsys.readouterr().out
    assert "4 chips as data 1 x fsdp 2 x tensor 2" in said
    assert "This fits v5e:2x2: at most 0." in said


@needs_compiler
def test_a_plan_counts_what_the_mathematics_needs():
    """Products with weights of every token, exactly; the einsum's scores of every pair beside them."""
    import plan

    P, G, S, T = 8, 2, 128, 256
    config = plan.Config(
        ROOT / "tests" / "fixtures" / "qwen2",
        "v5p:2x2x1",
        phase.Sizes(groups=P, group_size=G, prompt_len=S, completion_len=T),
        sharding.MeshShape(),
        attention="einsum",
        phases=("score",),
    )
    (score,) = plan.main(config)
    model = plan.build(
        config, plan.topologies.get_topology_desc(platform="tpu", topology_name="v5p:2x2x1").devices
    ).config
    heads, keys = model.num_heads * model.head_dim, model.num_kv_heads * model.head_dim
    layer = model.hidden_size * (2 * heads + 2 * keys + 3 * model.mlp_size)
    tokens = P * (S + G * T)
    pairs = P * (S * S + G * T * (S + T))
    products = (
        model.num_layers * (tokens * layer + 2 * pairs * heads) + P * G * T * model.hidden_size * model.vocab_size
    )
    assert score.work is not None
    assert score.kernels[2] == 0
    assert 4 * score.work.flops == pytest.approx(2 * products, rel=1e-6)
