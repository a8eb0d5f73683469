"""What each platform runs best."""

from jax.sharding import Mesh

from posttrain_jax.models import attention, splash


def attention_of(mesh: Mesh) -> attention.Attention:
    """The attention for the devices of `mesh`: the flash kernel on TPU, the einsum elsewhere."""
    return splash.attend if mesh.devices.flat[0].platform == "tpu" else attention.einsum
