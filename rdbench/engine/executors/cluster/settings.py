"""Workers that are started for a run: a YAML file for `--cluster`, by its `kind`.

The keys are few and have one meaning; `options` go to the class of Dask's as they are.

    slurm, pbs, sge, lsf      jobs of a batch system, one worker in each      dask-jobqueue
    ssh                       machines that this one can log in to            distributed
    kubernetes                pods, by Dask's operator                        dask-kubernetes
"""

from __future__ import annotations

import importlib
import shlex
import warnings
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rdbench.spec.complaints import sentence, shown
from rdbench.spec.load import read_yaml
from rdbench.suggest import nearest
from rdbench.types import RdbenchError, SpecError

BEFORE_THE_END = 300
"""Seconds before the end of a job's time at which its worker gives back what it has not begun."""
STAGGER = 120
"""Seconds by which the ends of workers may differ, so that not all leave at once."""
IDLE = "10 minutes"
"""Without work, after which a scheduler on an SSH host ends, and its workers with it."""


class _Settings(BaseModel):
    """What all have. workers: how many. options: for the class of Dask's.

    slots: shards that a worker measures at the same time: one for each core that it has on a CPU
    (a process each), and 1 for a GPU.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    workers: int = Field(ge=1, le=10_000)
    slots: int = Field(default=1, ge=1, le=1024)
    options: dict[str, Any] = {}


class JobSettings(_Settings):
    """Jobs of a batch system.

    cores, memory, walltime (hours:minutes:seconds), queue, account: of each job. directives: more
    lines for the batch system (`--gres=gpu:1`; of SGE, the parallel environment with its cores).
    prologue: commands before the worker starts (`source …/activate`). environment: variables of the
    worker (RDBENCH_DATA, RDBENCH_CACHE). python: the interpreter on the machine of the job.
    interface: the network that both sides see. logs: a folder for what the jobs say.
    """

    kind: Literal["slurm", "pbs", "sge", "lsf"]
    cores: int = Field(ge=1)
    memory: str
    walltime: str = Field(pattern=r"^\d{1,3}:\d\d:\d\d$")
    queue: str | None = None
    account: str | None = None
    directives: list[str] = []
    prologue: list[str] = []
    environment: dict[str, str] = {}
    python: str | None = None
    interface: str | None = None
    logs: str | None = None

    @property
    def seconds(self) -> int:
        """The time of a job."""
        hours, minutes, seconds = map(int, self.walltime.split(":"))
        return 3600 * hours + 60 * minutes + seconds

    def arguments(self) -> dict[str, Any]:
        """Those of a class of dask-jobqueue.

        There `cores` are a worker's threads, which are slots here.
        """
        lifetime = max(self.seconds - BEFORE_THE_END, self.seconds // 2)
        exports = [
            f"export {name}={shlex.quote(value)}" for name, value in self.environment.items()
        ]
        by_kind: dict[str, dict[str, Any]] = {
            "slurm": {"job_cpu": self.cores, "account": self.account},
            "pbs": {
                "resource_spec": f"select=1:ncpus={self.cores}:mem={self.memory}",
                "account": self.account,
            },
            "sge": {"project": self.account},
            "lsf": {"ncpus": self.cores, "project": self.account},
        }
        given = {
            "cores": self.slots,
            "processes": 1,
            "memory": self.memory,
            "walltime": self.walltime,
            "queue": self.queue,
            "job_extra_directives": self.directives,
            "job_script_prologue": [*self.prologue, *exports],
            "python": self.python,
            "interface": self.interface,
            "log_directory": self.logs,
            "worker_extra_args": [
                "--lifetime", f"{lifetime}s", "--lifetime-stagger", f"{min(STAGGER, lifetime)}s",
                "--no-dashboard",
            ],
            "scheduler_options": {"dashboard_address": None},
            **by_kind[self.kind],
        }  # fmt: skip
        return {name: value for name, value in given.items() if value is not None} | self.options

    def make(self) -> Any:
        """The cluster, without jobs."""
        name = {"slurm": "SLURM", "pbs": "PBS", "sge": "SGE", "lsf": "LSF"}[self.kind]
        return _class_of("dask_jobqueue", f"{name}Cluster")(**self.arguments())

    def start(self) -> Any:
        """The cluster, its jobs handed in."""
        cluster = _started(self.kind, self.make)
        cluster.scale(jobs=self.workers)
        return cluster


class SshSettings(_Settings):
    """Machines that this one can log in to without being asked for a password.

    hosts: the first has the scheduler too, unless `scheduler` names another. workers: on each.
    python: the interpreter there. connect: for asyncssh (username, known_hosts, …).
    """

    kind: Literal["ssh"]
    hosts: list[str] = Field(min_length=1)
    scheduler: str | None = None
    workers: int = Field(default=1, ge=1, le=256)
    python: str | None = None
    connect: dict[str, Any] = {}

    def arguments(self) -> dict[str, Any]:
        """Those of Dask's SSHCluster."""
        return {
            "hosts": [self.scheduler or self.hosts[0], *self.hosts],
            "connect_options": self.connect,
            "worker_options": {"nthreads": self.slots, "n_workers": self.workers},
            # Programs over there outlive this one where it is killed.
            "scheduler_options": {"port": 0, "dashboard": False, "idle_timeout": IDLE},
            "remote_python": self.python,
            **self.options,
        }

    def start(self) -> Any:
        """The cluster."""
        cluster = _class_of("distributed", "SSHCluster")
        return _started(self.kind, lambda: cluster(**self.arguments()))


class KubernetesSettings(_Settings):
    """Pods of a Kubernetes cluster that has Dask's operator.

    image: with rdbench, as it is here. name, namespace: of the cluster. resources, environment: of
    each pod.
    """

    kind: Literal["kubernetes"]
    image: str
    name: str = "rdbench"
    namespace: str | None = None
    resources: dict[str, Any] = {}
    environment: dict[str, str] = {}

    def arguments(self) -> dict[str, Any]:
        """Those of dask-kubernetes' KubeCluster."""
        command = ["dask", "worker", "--nthreads", str(self.slots), "--no-dashboard"]
        given = {
            "name": self.name,
            "namespace": self.namespace,
            "image": self.image,
            "n_workers": self.workers,
            "resources": self.resources or None,
            "env": self.environment,
            "worker_command": command,
        }
        return {name: value for name, value in given.items() if value is not None} | self.options

    def start(self) -> Any:
        """The cluster."""
        cluster = _class_of("dask_kubernetes.operator", "KubeCluster")
        return _started(self.kind, lambda: cluster(**self.arguments()))


ClusterSettings = JobSettings | SshSettings | KubernetesSettings
KINDS: dict[str, type[ClusterSettings]] = {
    kind: model
    for model in (JobSettings, SshSettings, KubernetesSettings)
    for kind in get_args(model.model_fields["kind"].annotation)
}


def read_settings(path: Path) -> ClusterSettings:
    """The settings in a YAML file; raises SpecError for what is none."""
    content = read_yaml(path, "cluster")
    kind = content.get("kind")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        hint = nearest(str(kind), list(KINDS), many="choose from")
        raise SpecError(f"cluster {path}: `kind` is {shown(kind)}; {hint}")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise SpecError(f"cluster {path}: {sentence(error, model)}") from None


def _class_of(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError:
        package = module.partition(".")[0].replace("_", "-")
        raise RdbenchError(
            f"{name} is of the package {package}, which is not installed; run `pip install "
            f"{package}`"
        ) from None


def _started(kind: str, make: Any) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of ports, dashboards and old names
            return make()
    except RdbenchError:
        raise
    except Exception as error:  # of a batch system, a login, a cluster's API
        said = (str(error).splitlines() or [""])[0]
        raise RdbenchError(
            f"no {kind} cluster could be started ({type(error).__name__}: {said}); mend its file"
        ) from error
