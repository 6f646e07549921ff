"""Rollouts for a trainer by replicas that serve the weights of its policy."""

from accelerate import Accelerator

from model.backends.checkpoint.parameters import parameters_file
from model.backends.contract import Backend, CheckpointError
from model.backends.janus import Janus
from model.serving.remote_backend import open_remote


def open_replicas(janus: Janus, address: str) -> Backend:
    """A service that holds the same kind of network. Raises CheckpointError."""
    if janus.adapter is not None:
        raise CheckpointError("an adapter is trained beside weights, which replicas do not have; train all weights")
    replicas = open_remote(address)
    if (replicas.capabilities.codes, replicas.capabilities.codebook) != (janus.image_codes, janus.codebook_size):
        raise CheckpointError(f"{address} draws other images than {janus.name}; serve the checkpoint that is trained")
    return replicas


def send_weights(janus: Janus, replicas: Backend, accelerator: Accelerator) -> None:
    """The policy's weights, by one process to all replicas, before any process asks these. Raises CheckpointError and
    UnavailableError."""
    if accelerator.is_main_process:
        replicas.load_weights(parameters_file(janus))
    accelerator.wait_for_everyone()
