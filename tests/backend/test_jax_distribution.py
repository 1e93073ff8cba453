"""Many devices train as one does: eight in a process, and four in two processes."""

from tests.backend import cluster


def run(commands, devices):
    flags = f"--xla_force_host_platform_device_count={devices}"
    worker = ("-m", "tests.backend.jax_worker")
    cluster.run(*(worker + c for c in commands), XLA_FLAGS=flags, JAX_PLATFORMS="cpu")


def test_eight_devices(tmp_path):
    """Weights as on one device, for every optimizer, and state sharded as its weight."""
    run([(tmp_path,)], devices=8)


def test_two_processes(tmp_path):
    addresses = ",".join(cluster.free_addresses(2))
    run([(tmp_path, addresses, i) for i in range(2)], devices=2)
