"""Processes that tests start: they come to an end, and what they print is seen when they fail."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE = 500  # seconds, of which they take a tenth on a machine that is not busy


def free_addresses(count):
    """HOST:PORT of this machine, with ports that the operating system gives out."""
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    found = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
        s.close()
    return found


def start(*arguments, output, **environment):
    """Start Python with these arguments."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def run(*commands, **environment):
    """Run Python with each of these lists of arguments, all at once; what each has printed.

    Raises:
        AssertionError: one has failed, and the others would wait for it, or time is up.
    """
    outputs = [tempfile.TemporaryFile("w+") for _ in commands]
    processes = [start(*c, output=o, **environment) for c, o in zip(commands, outputs)]
    deadline = time.monotonic() + PATIENCE
    try:
        while None in [p.poll() for p in processes] and not any(p.poll() for p in processes):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        codes = [p.poll() for p in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    printed = []
    for output in outputs:
        output.seek(0)
        printed.append(output.read())
        output.close()
    told = "\n".join(f"--- {c}: {code}\n{p}" for c, code, p in zip(commands, codes, printed))
    assert codes == [0] * len(codes), f"None is a process that was still running:\n{told}"
    return printed
