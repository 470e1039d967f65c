"""A real SLURM cluster on this machine: one controller, two nodes, fake GPUs, accounting."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
# Of accounting (sacct), which not every site has: slurmdbd, and the database behind it.
DATABASE = ("slurmdbd", "mariadbd", "mariadb-install-db")
ACCOUNT = "lab"
# slurm-jobstep removes SLURM_CONF from the environment of its srun.
SITE = Path("/etc/slurm")
FILES = ("slurm.conf", "gres.conf", "cgroup.conf", "slurmdbd.conf")
NODES = ("n1", "n2")
# SLURM wants a character device for each GPU of a node.
GPUS = ("/dev/null",)
# What the nodes claim to have, so that jobs may ask for what they ask for elsewhere.
CPUS, MEMORY_MB = 8, 64_000
# Seconds until a node that does not answer is down, and from SIGTERM to SIGKILL.
NODE_TIMEOUT, KILL_WAIT = 10, 5
MUNGE_KEY_BYTES = 128
# A requeued job waits for as long as the credentials of its first steps are valid, seconds.
REQUEUE_SECONDS = 5
# How often SLURM looks at the memory of jobs, to end those that take more than they asked for.
LOOK_SECONDS = 1
# Characters of a column of squeue.
WIDTH = 100


def missing() -> str | None:
    """Why no cluster can be started here, or None."""
    absent = [name for name in (*DAEMONS, "sbatch") if program(name) is None]
    if absent:
        return f"no {', '.join(absent)} here; install slurm-wlm and munge"
    if os.geteuid() != 0:
        return "only root may start a SLURM cluster that finds its configuration in /etc/slurm"
    for path in (SITE / name for name in FILES):
        if path.exists() and (not path.is_symlink() or _answers()):
            return f"{path} is there: this machine belongs to a SLURM cluster"
    return None


def program(name: str) -> str | None:
    """Where a program lies; daemons are not on everyone's path."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def wait_until(true: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"after {seconds} s still waiting for {what}")
        time.sleep(0.2)


@dataclass(frozen=True)
class Job:
    """One line of squeue; memory in MB, time limit in minutes."""

    id: str
    state: str
    node: str
    gpus: int
    memory: int
    minutes: int
    comment: str


@dataclass(frozen=True)
class Cluster:
    """A cluster whose files lie in one folder."""

    folder: Path

    @property
    def accounts(self) -> bool:
        """Whether there is accounting, which slurmdbd and mariadb-server install."""
        return None not in map(program, DATABASE)

    @property
    def asks(self) -> str:
        """What the profile as it is shipped asks how jobs are, if that is here."""
        return "sacct" if self.accounts else "squeue"

    def start(self) -> None:
        """Start all daemons and wait until the nodes serve."""
        for name in ("state", "log", "run", "munge", "database", *NODES):
            (self.folder / name).mkdir(parents=True, mode=0o700)
        self._configure()
        self._start_munge()
        if self.accounts:
            self._start_accounting()
        self._daemon("slurmctld", "-c")
        for node in NODES:
            self.start_node(node)

    def stop(self) -> None:
        """Stop all daemons and forget the configuration."""
        ask("scancel", "--user=root", check=False)
        wait_until(lambda: not self.jobs(), 60, "the last jobs to end")
        # Each needs those after it.
        for daemon in ("slurmd.*", "slurmctld", "slurmdbd", "mariadbd", "munged"):
            end(self._pids(f"{daemon}.pid"), signal.SIGTERM)
        for name in FILES:
            (SITE / name).unlink(missing_ok=True)

    def start_node(self, node: str) -> None:
        """Start a node, for the first time or after :meth:`lose_node`; wait until it serves."""
        self._daemon("slurmd", "-N", node)
        # It may be given a job at once.
        up = {"idle", "mixed", "allocated"}
        wait_until(lambda: self.node_state(node) in up, 60, f"{node} to be up")

    def lose_node(self, node: str) -> None:
        """What happens when a node loses power: its daemon and its jobs are gone at once."""
        jobs = {job.id for job in self.jobs() if job.node == node and job.state == "RUNNING"}
        end(self._pids(f"slurmd.{node}.pid"), signal.SIGKILL)
        while lost := processes(jobs):
            end(lost, signal.SIGKILL)

    def node_state(self, node: str) -> str:
        """For example ``idle``, ``mixed`` or ``down*``."""
        return ask("sinfo", "--noheader", f"--nodes={node}", "--format=%T").split("\n")[0]

    def jobs(self, states: str = "PENDING,RUNNING,COMPLETING") -> list[Job]:
        """Jobs in some states."""
        fields = ("JobID", "State", "NodeList", "tres-per-job", "MinMemory", "TimeLimit", "Comment")
        form = ",".join(f"{field}:{WIDTH}" for field in fields)
        lines = ask("squeue", "--noheader", f"--states={states}", f"--Format={form}").splitlines()
        found = []
        for line in lines:
            cells = [line[n * WIDTH : (n + 1) * WIDTH].strip() for n in range(len(fields))]
            number, state, node, tres, memory, limit, comment = cells
            gpus = re.fullmatch(r"gres:gpu:(\d+)", tres)
            asked = (int(gpus[1]) if gpus else 0, int(memory.removesuffix("M")), minutes(limit))
            found.append(Job(number, state, node, *asked, comment))
        return found

    def _configure(self) -> None:
        host, folder, ports = socket.gethostname().split(".")[0], self.folder, _free_ports(4)
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={CPUS} "
            f"RealMemory={MEMORY_MB} Gres=gpu:{len(GPUS)}"
            for node, port in zip(NODES, ports[2:], strict=True)
        )
        if self.accounts:
            accounting = f"""AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={ports[1]}
AccountingStoragePass={folder}/run/munge
AccountingStorageEnforce=associations"""
        else:
            accounting = "AccountingStorageType=accounting_storage/none"
        database = f"""AuthType=auth/munge
AuthInfo=socket={folder}/run/munge
DbdHost=localhost
DbdPort={ports[1]}
SlurmUser=root
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageUser=root
StorageLoc=accounts
"""
        text = f"""ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge,cred_expire={REQUEUE_SECONDS}
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmdLogFile={folder}/log/slurmd.%n.log
SlurmdSpoolDir={folder}/%n
SlurmdParameters=config_overrides
SlurmdTimeout={NODE_TIMEOUT}
KillWait={KILL_WAIT}
ReturnToService=2
MinJobAge=3600
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
{accounting}
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency={LOOK_SECONDS}
JobAcctGatherParams=OverMemoryKill
PriorityType=priority/basic
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
{nodes}
PartitionName=cpu Nodes={",".join(NODES)} Default=YES
PartitionName=gpu Nodes={",".join(NODES)} GraceTime={KILL_WAIT}
PartitionName=scavenger Nodes={",".join(NODES)} PreemptMode=CANCEL
PartitionName=urgent Nodes={",".join(NODES)} PriorityTier=2
"""
        gres = [f"NodeName={node} Name=gpu File={gpu}\n" for node in NODES for gpu in GPUS]
        SITE.mkdir(exist_ok=True)
        for name, content in zip(FILES, (text, "".join(gres), "", database), strict=True):
            (folder / name).write_text(content)
            # slurmdbd wants its own to be read by nobody else.
            (folder / name).chmod(0o600)
            (SITE / name).unlink(missing_ok=True)
            (SITE / name).symlink_to(folder / name)

    def _start_munge(self) -> None:
        key, run = self.folder / "munge" / "key", self.folder / "run"
        key.write_bytes(os.urandom(MUNGE_KEY_BYTES))
        key.chmod(0o400)
        options = [f"--key-file={key}", f"--socket={run}/munge", f"--pid-file={run}/munged.pid"]
        options += [f"--log-file={self.folder}/log/munged", f"--seed-file={run}/munge.seed"]
        # --force: temporary folders are writable by all.
        self._daemon("munged", "--force", *options)

    def _start_accounting(self) -> None:
        database, run = self.folder / "database", self.folder / "run"
        place = ["--no-defaults", "--user=root", f"--datadir={database}"]
        install = [str(program("mariadb-install-db")), *place, "--skip-test-db"]
        ask(*install, "--auth-root-authentication-method=socket")
        small = ["--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900"]
        socket_, number = run / "mariadb", run / "mariadbd.pid"
        options = [*place, *small, f"--socket={socket_}", f"--pid-file={number}"]
        with (self.folder / "log/mariadbd.log").open("w") as log:
            # It does not leave for the background by itself.
            subprocess.Popen(
                [str(program("mariadbd")), *options, "--skip-networking"],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(lambda: socket_.exists() and number.exists(), 60, "the database")
        self._daemon("slurmdbd", MYSQL_UNIX_PORT=str(socket_))

        def answers(*command: str) -> bool:
            return not subprocess.run(command, capture_output=True, timeout=60).returncode

        manage = ("sacctmgr", "--immediate", "add")
        wait_until(lambda: answers(*manage, "cluster", "tests"), 60, "the accounts")
        ask(*manage, "account", ACCOUNT)
        ask(*manage, "user", "root", f"account={ACCOUNT}")

    def _daemon(self, name: str, *options: str, **variables: str) -> None:
        path = program(name)
        assert path is not None
        # Without the variable that another configuration may be in, and in a session of its own.
        environment = {key: value for key, value in os.environ.items() if key != "SLURM_CONF"}
        environment |= variables
        with (self.folder / "log" / f"{name}.start").open("a") as log:
            subprocess.run(
                [path, *options], check=True, env=environment, stdout=log, stderr=log, timeout=60
            )

    def _pids(self, pattern: str) -> list[int]:
        return [int(path.read_text()) for path in (self.folder / "run").glob(pattern)]


def ask(*command: str, check: bool = True) -> str:
    """What one of SLURM's programs answers."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout.rstrip()


def minutes(limit: str) -> int:
    """A time limit as squeue writes it, ``[[days-]hours:]minutes:seconds``."""
    days, _, rest = limit.rpartition("-")
    parts = [0, 0, *map(int, rest.split(":"))]
    return (int(days or 0) * 24 + parts[-3]) * 60 + parts[-2]


def processes(jobs: set[str]) -> list[int]:
    """Processes of jobs: SLURM's own, and those of their steps."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            title = (entry / "cmdline").read_bytes().decode(errors="replace")
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        step = re.match(r"slurmstepd: \[(\d+)\.", title)
        names = {line.removeprefix(b"SLURM_JOB_ID=").decode() for line in environment}
        if ((step and step[1] in jobs) or names & jobs) and _lives(int(entry.name)):
            found.append(int(entry.name))
    return found


def end(pids: list[int], how: signal.Signals) -> None:
    """Send a signal to processes, all at once, and wait until they have ended."""
    for pid in pids:
        # One may have ended with the one before it.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
    wait_until(lambda: not any(map(_lives, pids)), 30, f"processes {pids} to end")


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    # A dead process stays in the list until its parent asks for it.
    return state != "Z"


def _answers() -> bool:
    done = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, timeout=60)
    return " is UP" in done.stdout


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
