"""Clusters on this machine: a Ray cluster of two nodes, and SLURM with one node. They leave nothing behind."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

PATIENCE = 120.0
"""Seconds in which a daemon is ready on a busy machine."""


def until(holds, what):
    """Wait for a daemon; pytest fails if it does not come up."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} in {PATIENCE:g} s")
        time.sleep(0.2)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    return False


def ended(process):
    """End a process with all of its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class RayCluster:
    """The head and the nodes that have been added, each with one CPU."""

    def __init__(self, folder):
        self.folder, self.port, self.nodes = folder, free_port(), []
        self.address = f"127.0.0.1:{self.port}"
        # Ray's sockets need a short path. Its workers would wait for all else that this machine does.
        self.environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}

    def add(self):
        """Start a node, the first of which is the head, and wait until it has joined."""
        place = (
            [f"--address={self.address}"]
            if self.nodes
            else ["--head", f"--port={self.port}", "--include-dashboard=false", f"--temp-dir={self.folder}"]
        )
        command = [Path(sys.executable).with_name("ray"), "start", *place, "--node-ip-address=127.0.0.1"]
        log = (self.folder / f"node-{len(self.nodes)}.log").open("wb")
        self.nodes.append(
            subprocess.Popen(
                [*command, "--num-cpus=1", "--block"],
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )
        )
        text = self.folder / f"node-{len(self.nodes) - 1}.log"
        until(lambda: "Ray runtime started" in text.read_text() and listens(self.port), "no Ray node")
        return self.nodes[-1]


@contextmanager
def ray_cluster(nodes=2):
    """Skipped where Ray is not installed."""
    if find_spec("ray") is None:
        pytest.skip("the package ray is not installed")
    folder = Path("/tmp") / f"r{os.getpid()}"
    folder.mkdir()
    cluster = RayCluster(folder)
    try:
        for _ in range(nodes):
            cluster.add()
        yield cluster
    finally:
        for node in reversed(cluster.nodes):
            ended(node)
        shutil.rmtree(folder, ignore_errors=True)


CONF = """
ClusterName=fewstep
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
MpiDefault=none
KillWait=5
SchedulerParameters=batch_sched_delay=0,sched_interval=1
SlurmctldPort={controller}
SlurmdPort={daemon}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=short Nodes={host} MaxTime=10 State=UP
"""
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "srun")


@contextmanager
def slurm_cluster(monkeypatch):
    """Skipped where SLURM's or munge's programs are missing, or without root's rights."""
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin:/sbin")
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing or find_spec("submitit") is None:
        pytest.skip(f"{(missing or ['the package submitit'])[0]} is not installed")
    if os.geteuid() != 0:
        pytest.skip("the daemons of SLURM need root's rights")
    folder, host = Path("/tmp") / f"s{os.getpid()}", socket.gethostname().partition(".")[0]
    folder.mkdir(mode=0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "key").write_bytes(os.urandom(1024))
    (folder / "key").chmod(0o400)
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(host=host, folder=folder, controller=free_port(), daemon=free_port()))
    monkeypatch.setenv("SLURM_CONF", str(conf))
    files = [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed")]
    daemons = []
    try:
        for command in (
            [
                "munged",
                "--foreground",
                "--force",
                f"--socket={folder}/munge.socket",
                f"--key-file={folder}/key",
                *files,
            ],
            ["slurmctld", "-D", "-f", conf],
            ["slurmd", "-D", "-f", conf, "-N", host],
        ):
            with (folder / f"{command[0]}.out").open("wb") as log:
                daemons.append(subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True))
            if command[0] == "munged":
                until((folder / "munge.socket").exists, "no munge")
        until(lambda: "idle" in said("sinfo", "--noheader", "--format=%T"), "no idle node of SLURM")
        yield folder
    finally:
        said("scancel", "--user=root")
        until(lambda: not said("squeue", "--noheader"), "SLURM does not end its jobs")
        for daemon in reversed(daemons):
            ended(daemon)
        shutil.rmtree(folder, ignore_errors=True)


def said(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
