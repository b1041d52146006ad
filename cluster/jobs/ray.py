"""The job server of a Ray cluster: submits once, follows until the job has really ended, stops after a checkpoint.

The job's status says whether it runs; its log stream does not, because that may end while the job runs on (ray issues 57002,
60665).
"""

from __future__ import annotations

import asyncio
import logging
import re
import shlex
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbraid.cluster.jobs.answers import Metadata, ray_jobs
from unbraid.cluster.jobs.server import Job, JobError, UnknownJobError, Work, require_no_password, require_same
from unbraid.cluster.local.services import JOB_VARIABLE
from unbraid.datasets.store.proxies import proxy_note
from unbraid.datasets.untrusted.documents import LARGEST_JSON, check_document, parse_json
from unbraid.datasets.untrusted.text import in_one_line
from unbraid.trainers.launch.ray_internals import job_details, job_server_url, package_uri, ray_version_of

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

STOP_SECONDS = 40
"""What a job gets between SIGTERM and SIGKILL: a checkpoint fits; Ray's own default is 3."""
SILENCE_SECONDS = 60.0
"""A log stream that is silent for so long is opened again: a connection may be dead without having ended."""
CONNECT_SECONDS = 5.0
PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before the log stream is opened again, after one failure, two, …"""
UNKNOWN_TIMES = 5
"""A server that denies a job so many times in a row is believed; before, it may still be reading its tables."""

LONGEST_NUMBER = 6
"""Digits of an attempt's number."""


class RayJobServer:
    """The job server of a Ray cluster, see :class:`unbraid.cluster.jobs.server.JobServer`.

    Args:
        address: ``http://HOST:8265``, or ``HOST:PORT`` of the cluster's head.

    Raises:
        JobError: when there is no such server, the token is missing or wrong, or it runs another version of Ray.
    """

    option = ""

    def __init__(self, address: str) -> None:
        self.address = address
        self._client = self._connect()

    def submit(
        self, base: str, command: Sequence[str], runtime_env: Mapping[str, Any], metadata: Mapping[str, str]
    ) -> tuple[Job, bool]:
        """Start a command, unless an attempt of the same work runs, or was the last one and has succeeded.

        Args:
            base: names the work; attempts are ``base``, ``base-2``, …
            metadata: stored with the job; ``user`` and ``tree`` are part of what makes it the same work.

        Returns:
            The job, and whether it is new.

        Raises:
            JobError: when a job of that name runs another command or another tree, or is another user's.
        """
        entrypoint = shlex.join(command)
        require_no_password(entrypoint)
        stored: dict[str, str] = check_document(dict(metadata), Metadata, "the job's metadata")
        wanted = Work(entrypoint, stored.get("user", ""), stored.get("tree", ""), _package_of(runtime_env))
        attempts = self.attempts(base)
        for attempt in reversed(attempts):
            if not attempt.is_over:
                require_same(attempt, wanted, self.option)
                return attempt, False
        if attempts and attempts[-1].status == "SUCCEEDED" and attempts[-1].work == wanted:
            return attempts[-1], False
        identifier = f"{base}-{_number(base, attempts[-1]) + 1}" if attempts else base
        variables = {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS), JOB_VARIABLE: identifier, "PYTHONUNBUFFERED": "1"}
        env = dict(runtime_env) | {"env_vars": {**runtime_env.get("env_vars", {}), **variables}}
        with self._explained():
            self._client.submit_job(entrypoint=entrypoint, submission_id=identifier, runtime_env=env, metadata=stored)
        return self.job(identifier), True

    def retry(self, identifier: str) -> Job:
        """Start the command of a job that failed or was stopped as a new attempt, with that job's tree and in its user's name.

        Raises:
            JobError: when the job or a later attempt is not over, or the job has succeeded.
        """
        old = self.job(identifier)
        if not old.is_over:
            raise JobError(
                f"job {old.id} is {old.status}: there is nothing to retry; follow it with `unbraid jobs logs -f {old.id}`"
            )
        if old.status == "SUCCEEDED":
            raise JobError(f"job {old.id} has succeeded: there is nothing to retry{old.more_updates}")
        base = old.metadata.get("base", "")
        base = base if _number(base, old) else old.id
        attempts = self.attempts(base)
        if attempts and not attempts[-1].is_over:
            raise JobError(f"job {attempts[-1].id} is the retry of {old.id} already, and is {attempts[-1].status}")
        env = parse_json(self._record(old.id), dict[str, Any], old.id, LARGEST_JSON).get("runtime_env") or {}
        env = {key: value for key, value in env.items() if not key.startswith("_")}
        return self.submit(base, shlex.split(old.entrypoint), env, old.metadata)[0]

    def stop(self, identifier: str) -> Job:
        """Let a job save a checkpoint, end it, and wait for that.

        Raises:
            JobError: when it has ended already.
        """
        job = self.job(identifier)
        if job.is_over:
            raise JobError(f"job {job.id} has ended already: {job.status}")
        with self._explained():
            self._client.stop_job(identifier)
        until = time.monotonic() + STOP_SECONDS + 20
        while not (job := self.job(identifier)).is_over and time.monotonic() < until:
            time.sleep(0.5)
        return job

    def job(self, identifier: str) -> Job:
        """Return one job.

        Raises:
            UnknownJobError: when the cluster has no such job, naming the newest that it has.
        """
        try:
            return ray_jobs(b"[%b]" % self._record(identifier))[0]
        except JobError as error:
            if "404" not in str(error) and "does not exist" not in str(error):
                raise
            known = ", ".join(job.id for job in self.jobs()[:5]) or "none"
            raise UnknownJobError(f"{self.address} knows no job {identifier}; the newest: {known}") from None

    def jobs(self) -> list[Job]:
        """List all submitted jobs, newest first."""
        with self._explained():
            answer = job_details(self._client)
        return sorted(ray_jobs(answer), key=lambda job: -job.started)

    def attempts(self, base: str) -> list[Job]:
        """List the attempts of one piece of work, oldest first."""
        return sorted((job for job in self.jobs() if _number(base, job)), key=lambda job: _number(base, job))

    def logs(self, identifier: str) -> str:
        """Return all that a job has printed so far."""
        with self._explained():
            return str(self._client.get_job_logs(identifier))

    def follow(self, identifier: str, on_output: Callable[[str], None], on_notice: Callable[[str], None]) -> Job:
        """Pass on a job's output, from its beginning, as it is printed, until the job has ended.

        No line is lost or passed on twice, whatever happens to the connection: each stream begins with the first line, and the
        part that was passed on is left out.

        Raises:
            JobError: when the server has the job no more: another cluster has replaced the one that ran it.
        """
        shown, failures, unknown = 0, 0, 0
        while True:
            before = shown
            try:
                shown, cause = asyncio.run(self._stream(identifier, on_output, shown)), "the stream ended"
            except _BrokenStreamError as broken:
                shown, cause = broken.shown, broken.cause
            try:
                job = self.job(identifier)
                unknown = 0
                if job.is_over:
                    on_output(self._rest(identifier, shown))
                    return job
            except JobError as error:
                unknown = unknown + 1 if isinstance(error, UnknownJobError) else 0
                if unknown == UNKNOWN_TIMES:
                    raise JobError(
                        f"{error}: the cluster that ran it is gone, and another answers there. The same submit again goes on "
                        "from the newest checkpoint"
                    ) from None
                cause = str(error).splitlines()[0]
            failures = 1 if shown > before else failures + 1
            if failures > 1:  # a single silence or end needs nobody's attention
                on_notice(f"following {identifier} again ({cause}); the job itself is not concerned")
            time.sleep(PAUSES[min(failures, len(PAUSES)) - 1])
            self._reconnect()

    def _record(self, identifier: str) -> bytes:
        with self._explained():
            return job_details(self._client, identifier)

    async def _stream(self, identifier: str, on_output: Callable[[str], None], shown: int) -> int:
        """Pass on what follows the first ``shown`` characters, until the stream ends.

        Returns:
            Characters that have been passed on then.

        Raises:
            _BrokenStreamError: when the stream breaks, or is silent for too long.
        """
        stream = self._client.tail_job_logs(identifier)
        position = 0
        try:
            while True:
                try:
                    chunk = await asyncio.wait_for(anext(stream), SILENCE_SECONDS)
                except StopAsyncIteration:
                    return max(shown, position)
                new = chunk[max(shown - position, 0) :]
                position += len(chunk)
                if position > shown:
                    on_output(new)
                    shown = position
        except Exception as error:  # of four libraries, none of which documents what it raises
            raise _BrokenStreamError(shown, f"{type(error).__name__}: {error}".rstrip(": ")) from error

    def _rest(self, identifier: str, shown: int) -> str:
        """Return the output that a stream which ended with its job may have left out."""
        try:
            return self.logs(identifier)[shown:]
        except JobError:
            return ""  # the node that held it is gone; the job's status is known

    def _reconnect(self) -> None:
        with suppress(JobError):  # the old client asks the same server, once that is back
            self._client = self._connect()

    def _connect(self) -> JobSubmissionClient:
        import ray
        from ray.job_submission import JobSubmissionClient

        for talkative in ("dashboard_sdk", "job.sdk"):  # they set their own level when they are imported
            logging.getLogger(f"ray.dashboard.modules.{talkative}").setLevel(logging.WARNING)
        with self._explained():
            if "://" not in self.address:
                require_listener(self.address)
            client = JobSubmissionClient(self.address if "://" in self.address else job_server_url(self.address))
            version = ray_version_of(client)
        if version.split(".")[:2] != ray.__version__.split(".")[:2]:
            raise JobError(
                f"{self.address} runs Ray {version}, this is Ray {ray.__version__}: use an environment with that one "
                f"(pip install 'ray=={version}'), or a cluster with this one"
            )
        return client

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what Ray's client raises into one error with a remedy."""
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError as error:
            raise JobError(f"{self.address}: {_token_advice(str(error))}") from None
        except (ConnectionError, OSError, ValueError) as error:
            raise JobError(
                f"no Ray cluster answers at {self.address}{proxy_note(self.address)} ({in_one_line(error, 200)}): see that it "
                "runs and that its dashboard (port 8265) can be reached from here, or name another --address"
            ) from None
        except RuntimeError as error:
            text = str(error)
            if _is_about_token(text):
                raise JobError(f"{self.address}: {_token_advice(text)}") from None
            raise JobError(f"{self.address}: {in_one_line(text, 400)}") from None


class _BrokenStreamError(Exception):
    """A log stream broke; ``shown`` characters had been passed on by then."""

    def __init__(self, shown: int, cause: str) -> None:
        super().__init__(cause)
        self.shown = shown
        self.cause = cause


def require_listener(address: str) -> None:
    """Check that something listens at ``HOST:PORT``; where nothing does, Ray's own client waits a minute and ends the process.

    Raises:
        JobError: when the address has another form.
        ConnectionError: when nothing listens there.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise JobError(f"--address {address}: expected http://HOST:8265, or HOST:PORT of the cluster's head")
    try:
        with socket.create_connection((host, int(port)), CONNECT_SECONDS):
            return
    except OSError as error:
        raise ConnectionError(str(error)) from None


def _number(base: str, job: Job) -> int:
    """Return which attempt of a piece of work a job is, from 1 on; 0 where it is none."""
    attempt = re.fullmatch(re.escape(base) + rf"(?:-(\d{{1,{LONGEST_NUMBER}}}))?", job.id)
    return int(attempt[1] or 1) if attempt else 0


def _package_of(runtime_env: Mapping[str, Any]) -> str:
    """Return the name that a cluster gives the tree of a runtime environment; "" without one."""
    folder = str(runtime_env.get("working_dir") or "")
    return folder if "://" in folder or not folder else package_uri(Path(folder))


def _is_about_token(text: str) -> bool:
    return any(word in text.lower() for word in ("401", "403", "unauthorized", "authentication"))


def _token_advice(text: str) -> str:
    """Say what is wrong with the token and what to do: the server answers 401 without a token, 403 to a wrong one."""
    if "403" in text or "invalid" in text.lower() or "incorrect" in text.lower():
        return "the cluster refuses this token: set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file with the cluster's token"
    return (
        "the cluster wants a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH, a file) to its; "
        "`unbraid local` does so for the local services"
    )
