"""Reading programs: hand-written ones in the TPU compiler's words, and small ones of which the FLOPs are known."""

import hlo
import jax
import jax.numpy as jnp
import loop
import pytest
import work
from jax.sharding import NamedSharding, PartitionSpec

from posttrain_jax.models import sharding

LOOP = """HloModule example

%fused (p0: f32[7,2,128], p1: s32[]) -> f32[1,2,128] {
  %p0 = f32[7,2,128]{2,1,0:T(8,128)} parameter(0)
  %p1 = s32[]{:T(128)} parameter(1)
  %zero = s32[]{:T(128)} constant(0)
  ROOT %cut = f32[1,2,128]{2,1,0:T(8,128)} dynamic-slice(%p0, %p1, %zero, %zero), dynamic_slice_sizes={1,2,128}
}

%body (carry: (s32[], f32[7,2,128])) -> (s32[], f32[7,2,128]) {
  %carry = (s32[]{:T(128)}, f32[7,2,128]{2,1,0:T(8,128)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%carry), index=0
  %x = f32[7,2,128]{2,1,0:T(8,128)} get-tuple-element(%carry), index=1
  %two = s32[]{:T(128)} constant(2)
  %layer = f32[1,2,128]{2,1,0:T(8,128)S(1)} fusion(%x, %i), kind=kLoop, calls=%fused
  %all-gather-start.1 = (f32[1,2,128]{2,1,0}, f32[4,2,128]{2,1,0}) all-gather-start(%layer), channel_id=1, \
replica_groups=[2,4]<=[8], dimensions={0}, use_global_device_ids=true
  %all-gather-done.1 = f32[4,2,128]{2,1,0:T(8,128)S(1)} all-gather-done(%all-gather-start.1)
  %next = s32[]{:T(128)} add(%i, %two)
  ROOT %out = (s32[]{:T(128)}, f32[7,2,128]{2,1,0:T(8,128)}) tuple(%next, %x)
}

%condition (carry.1: (s32[], f32[7,2,128])) -> pred[] {
  %carry.1 = (s32[]{:T(128)}, f32[7,2,128]{2,1,0:T(8,128)}) parameter(0)
  %limit = s32[]{:T(128)} constant(7)
  %at = s32[]{:T(128)} get-tuple-element(%carry.1), index=0
  ROOT %below = pred[]{:T(512)} compare(%at, %limit), direction=LT
}

ENTRY %main (x: f32[7,2,128]) -> (s32[], f32[7,2,128]) {
  %x.1 = f32[7,2,128]{2,1,0:T(8,128)} parameter(0)
  %first = s32[]{:T(128)} constant(1)
  %start = (s32[]{:T(128)}, f32[7,2,128]{2,1,0:T(8,128)}) tuple(%first, %x.1)
  ROOT %while.1 = (s32[]{:T(128)}, f32[7,2,128]{2,1,0:T(8,128)}) while(%start), condition=%condition, body=%body
}
"""


def test_a_loop_without_a_known_count_is_counted_from_start_limit_and_step():
    """1, 3, 5, and not 7: three times."""
    program = hlo.parse(LOOP)
    assert loop.loops(program) == {"while.1": loop.Loop("body", trips=3, exact=True)}
    runs = loop.executions(program)
    assert runs["body"] == loop.Runs(3, inside_loop=True, scheduled=True)
    assert runs["fused"] == loop.Runs(3, inside_loop=True, scheduled=False)
    assert runs["main"] == loop.Runs(1, inside_loop=False, scheduled=True)


def test_collectives_are_counted_as_often_as_their_loop_runs():
    """A ring over four chips sends three quarters of the gathered 4 KiB, three times."""
    found = work.count(hlo.parse(LOOP)).collectives
    assert found == (work.Collective("all-gather", 3 * 0.75 * 4 * 2 * 128 * 4, inside_loop=True),)
    assert list(work.by_kind(found)) == [("all-gather", 9216.0, 9216.0)]


def test_a_collective_spread_over_a_chain_is_counted_once():
    part = ", channel_id=1, replica_groups=[2,4]<=[8], dimensions={0}, use_global_device_ids=true"
    chained = part + ', frontend_attributes={chain_id="0"}'
    gather = "  %part = f32[4,2,128]{2,1,0} all-gather(%layer)" + chained + "\n"
    text = LOOP.replace(part, chained).replace("  %next =", gather + "  %next =")
    assert work.count(hlo.parse(text)).collectives == work.count(hlo.parse(LOOP)).collectives


def test_of_a_sliced_operand_only_the_slice_is_read():
    """Each turn reads one layer of seven; the result and the gather's operand lie on the core (S(1))."""
    program = hlo.parse(LOOP)
    body = program.computations["body"]
    assert work._traffic(program, body, body.instructions["layer"]) == 2 * 128 * 4 + 4  # and the index


def test_a_loop_that_data_may_end_is_an_upper_bound():
    text = LOOP.replace(
        "  ROOT %below = pred[]{:T(512)} compare(%at, %limit), direction=LT",
        "  %below = pred[]{:T(512)} compare(%at, %limit), direction=LT\n"
        '  %more = pred[]{:T(512)} custom-call(%at), custom_call_target="AnyLeft"\n'
        "  ROOT %both = pred[]{:T(512)} and(%below, %more)",
    )
    assert loop.loops(hlo.parse(text))["while.1"] == loop.Loop("body", trips=3, exact=False)
    assert work.count(hlo.parse(text)).at_most


def test_a_loop_that_is_not_understood_is_refused():
    with pytest.raises(ValueError, match=r"loop while\.1 counts in a way that is not understood"):
        loop.loops(hlo.parse(LOOP.replace("direction=LT", "direction=GT")))


@pytest.mark.parametrize(
    ("groups", "size"),
    [
        ("replica_groups=[2,4]<=[8], x", 4),
        ("replica_groups={{0,1,2},{3,4,5}}, x", 3),
        ("replica_groups=mesh['a'=2,'b'=16,'c'=4] {'b','c'}, x", 64),
        ("replica_groups=mesh['a'=2,'b'=16], device_ids=([2,16]T(1,0)) {'b':(1)4}, x", 4),
    ],
)
def test_groups_in_all_spellings(groups, size):
    assert work._group(groups) == size


def test_a_batch_written_as_a_dilated_window_counts_no_zeros():
    """Four products of [3, 7] and [7, 5], as the TPU compiler writes them."""
    text = """
ENTRY %main (a: f32[4,3,7], b: f32[4,5,7]) -> f32[4,3,5] {
  %a = f32[4,3,7]{2,1,0} parameter(0)
  %b = f32[4,5,7]{2,1,0} parameter(1)
  ROOT %c = f32[4,3,5]{2,1,0} convolution(%a, %b), window={size=4 stride=3 lhs_dilate=4}, dim_labels=0bf_0oi->0bf
}
"""
    done = work.count(hlo.parse(text))
    assert done.flops == 4 * 2 * 3 * 5 * 7
    assert done.bytes == 4 * (4 * 3 * 7 + 4 * 5 * 7 + 4 * 3 * 5)


def test_products_of_a_scanned_program_are_those_of_all_its_steps():
    def layers(x, weights):
        return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, weights)[0]

    text = jax.jit(jax.grad(lambda w, x: jnp.sum(layers(x, w)))).lower(jnp.ones((5, 8, 8)), jnp.ones((3, 8)))
    done = work.count(hlo.parse(text.compile().as_text()))
    assert done.flops == 5 * 3 * 2 * 3 * 8 * 8  # forward, and two products backward, in five layers
    assert not done.at_most


def test_a_sum_over_devices_is_sent_twice():
    mesh = sharding.make_mesh(fsdp=4)
    rows = NamedSharding(mesh, PartitionSpec("fsdp"))
    x = jax.ShapeDtypeStruct((4, 6), jnp.float32, sharding=rows)
    total = jax.jit(lambda x: x.sum(0), out_shardings=NamedSharding(mesh, PartitionSpec()))
    found = work.count(hlo.parse(total.lower(x).compile().as_text())).collectives
    assert found == (work.Collective("all-reduce", 2 * 0.75 * 6 * 4, inside_loop=False),)


def test_text_without_a_program_is_refused():
    with pytest.raises(ValueError, match="no ENTRY computation"):
        hlo.parse("nothing")
