"""Jobs and job servers: what is common to a Ray cluster's and to Kubernetes'."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from unbraid.datasets.passwords import NO_PASSWORDS, has_password
from unbraid.datasets.untrusted.text import in_one_line
from unbraid.trainers.errors import TrainingError

ENDED = ("SUCCEEDED", "FAILED", "STOPPED")


class JobError(TrainingError):
    """A job server refused a request; the message says why and what to do."""


class UnknownJobError(JobError):
    """The job server answers, and has no job of that name."""


class UnreachableError(JobError):
    """The job server does not answer; it may do so later."""


@dataclass(frozen=True)
class Work:
    """What a job runs, and for whom. Only where all of this agrees, two jobs of one name are the same work.

    Attributes:
        entrypoint: the command.
        owner: the user who submitted it, as its metadata say.
        tree: SHA-256 of the uploaded tree, as its metadata say; "" without one.
        package: where the job's code really comes from: the tree's package on a Ray cluster, images on Kubernetes.
    """

    entrypoint: str
    owner: str
    tree: str
    package: str


@dataclass(frozen=True)
class Job:
    """One attempt of a command on a cluster.

    Attributes:
        status: Ray's word: PENDING, RUNNING, SUCCEEDED, FAILED, STOPPED; UNKNOWN where the server names none of these.
        message: the server's, of one line or many.
        metadata: as submitted, see :class:`unbraid.cluster.jobs.request.JobRequest`.
        started, ended: seconds since the epoch, 0 before.
        exit_code: the command's; None when unknown.
        package: see :class:`Work`.
        problem: why the server's record of it cannot be read; "" where it can.
    """

    id: str
    status: str
    message: str
    entrypoint: str
    metadata: Mapping[str, str]
    started: float
    ended: float
    exit_code: int | None
    package: str = ""
    problem: str = ""

    @property
    def more_updates(self) -> str:
        """How its run is trained for longer; "" where it has none. Its default name would change with ``run.updates``."""
        run, storage = self.metadata.get("run"), self.metadata.get("storage")
        if not run or not storage:
            return ""
        file, copied = f"{storage}/{run}/config.yaml", ""
        if "://" not in file:  # on a machine of the cluster, from which nothing is uploaded
            file, copied = "FILE", f", FILE a copy of {file}"
        return f"; for more updates submit train --config {file} run.updates=N{copied}"

    @property
    def work(self) -> Work:
        """What it runs, and for whom."""
        return Work(self.entrypoint, self.metadata.get("user", ""), self.metadata.get("tree", ""), self.package)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, one way or another."""
        return self.status in ENDED

    @property
    def result(self) -> int:
        """Exit status for a command that followed the job: the job's own; 1 where Ray ended it, 143 where a person did."""
        if self.status == "SUCCEEDED":
            return 0
        return 143 if self.status == "STOPPED" else self.exit_code or 1

    @property
    def cause(self) -> str:
        """Why it failed, or cannot be read, in one line: the command's own error where it printed one."""
        if self.problem:
            return in_one_line(self.problem)
        if self.status != "FAILED":
            return ""
        errors = [line.strip() for line in self.message.splitlines() if line.strip().startswith(("Error: ", "ERROR: "))]
        return errors[-1] if errors else in_one_line(self.message)


def require_no_password(entrypoint: str) -> None:
    """Check that a command has no password in a URL: a job server stores the command, and shows it to everybody.

    Raises:
        JobError: when it has one.
    """
    if has_password(entrypoint):
        raise JobError(f"{entrypoint}: {NO_PASSWORDS}")


def require_same(job: Job, wanted: Work, option: str) -> None:
    """Check that a job which runs is the work that is to be submitted under its name, before somebody attaches to it.

    Args:
        option: of the job server, see :class:`JobServer`.

    Raises:
        JobError: naming what differs, and what to do.
    """
    found = job.work
    follow, stop = f"unbraid jobs logs {option}-f {job.id}", f"unbraid jobs stop {option}{job.id}"
    if job.problem:
        raise JobError(f"a job {job.id} is there, and {job.cause}: stop it ({stop}), or give this run another run.name")
    if found.owner != wanted.owner:
        raise JobError(
            f"job {job.id} was submitted by {found.owner or 'a user that it does not name'}, not by you ({wanted.owner}), and "
            f"is {job.status}: follow it as it is ({follow}), or give this run another run.name or run.storage"
        )
    if found.entrypoint != wanted.entrypoint:
        raise JobError(
            f"job {job.id} runs with other arguments:\n  {found.entrypoint}\nstop it first ({stop}), or give this run another "
            "run.name"
        )
    if found != wanted:
        named = [work.tree[:12] if found.tree != wanted.tree else work.package for work in (found, wanted)]
        names = "{} there, {} here".format(*(name or "none" for name in named))
        raise JobError(
            f"job {job.id} runs another tree ({names}): follow it as it is ({follow}), or stop it ({stop}) and submit again, "
            "which goes on from its newest checkpoint"
        )


class JobServer(Protocol):
    """Lists, shows, follows, stops and retries jobs. Submitting is not part of it: a Ray cluster takes a command and a tree,
    Kubernetes a manifest.

    Attributes:
        address: names the server in messages.
        option: the command-line option that selects this kind of server, with a space after it; "" for the default kind.
    """

    address: str
    option: str

    def jobs(self) -> list[Job]:
        """List all jobs, newest first."""

    def job(self, identifier: str) -> Job:
        """Return one job.

        Raises:
            JobError: when there is no such job, naming the newest that exist.
        """

    def logs(self, identifier: str) -> str:
        """Return all that the job has printed so far."""

    def follow(self, identifier: str, on_output: Callable[[str], None], on_notice: Callable[[str], None]) -> Job:
        """Pass on a job's output as it is printed, until the job has ended.

        No line is lost or passed on twice, whatever happens to the connection.

        Args:
            on_output: called with each new piece of output.
            on_notice: called with what the job waits for and with lost connections, one line each.

        Returns:
            The job as it ended.
        """

    def stop(self, identifier: str) -> Job:
        """Let a job save a checkpoint, end it, and wait for that.

        Raises:
            JobError: when it has ended already.
        """

    def retry(self, identifier: str) -> Job:
        """Run the command of a job that failed or was stopped again; a run goes on from its newest checkpoint.

        Raises:
            JobError: when the job is not over, or has succeeded.
        """
