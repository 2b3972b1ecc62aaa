"""Every error Sitrep raises on purpose.

    SitrepError
    ├── ConfigError          a setting, policy or prompt file is wrong
    │   └── PromptError      a prompt pack cannot be loaded or rendered
    ├── SourceError          a clip, folder or camera cannot be read
    ├── InboundError         a detection from outside cannot be taken as it is
    ├── QueueFull            too much waits already: try again later (retryable)
    ├── FrameStoreError      a key frame cannot be written or read back
    ├── StoreError           the database refused or is unreachable
    ├── BrokerError          Redis/Valkey is unreachable or will not start
    ├── ModelError           a model back end failed
    │   ├── ModelMissing     its weights or package are not there
    │   ├── ModelTimeout     it did not answer in time (retryable)
    │   └── ModelUnavailable its server refused or is down (retryable)
    ├── ReplyError           the model answered, but the reply cannot be read
    └── JobError             a job is not in a state that allows the call

Errors are values as much as exceptions: ``stage``, ``retryable`` and ``hint`` are stored with a
failed job, shown on the incident page and printed as one line by the command line.
"""

from __future__ import annotations

from typing import ClassVar


class SitrepError(Exception):
    """Base of all deliberate errors.

    Args:
        message: What went wrong and where, in one line.
        hint: How to mend it, in one line; the class default when omitted.
        job_id: The job that was being worked on, if any.
    """

    stage: ClassVar[str] = "sitrep"
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str, *, hint: str | None = None, job_id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint
        self.job_id = job_id

    def one_line(self) -> str:
        """The whole error as one line: what, where, how to mend."""
        text = " ".join(self.message.split())
        return f"{text} ({' '.join(self.hint.split())})" if self.hint else text


class ConfigError(SitrepError):
    """A setting, policy or prompt file is wrong."""

    stage = "config"
    default_hint = "see: sitrep config show"


class PromptError(ConfigError):
    """A prompt pack cannot be loaded or rendered."""

    stage = "prompt"
    default_hint = "see: sitrep prompts list"


class SourceError(SitrepError):
    """A clip, folder or camera cannot be read."""

    stage = "ingest"


class InboundError(SitrepError):
    """A detection from outside cannot be taken as it is; sending it again changes nothing."""

    stage = "inbound"
    default_hint = "see pipeline/inbound/README.md"


class QueueFull(SitrepError):
    """Too much waits already.

    Args:
        message: What is full.
        retry_after_s: When to try again.
    """

    stage = "queue"
    retryable = True
    default_hint = "send it again later; nothing was lost"

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class FrameStoreError(SitrepError):
    """A key frame cannot be written, or is missing or damaged when read back."""

    stage = "frames"
    default_hint = "check free space and permissions of the data directory"


class StoreError(SitrepError):
    """The database refused a statement or cannot be reached."""

    stage = "store"
    retryable = True
    default_hint = "see: sitrep doctor"


class BrokerError(SitrepError):
    """Redis/Valkey cannot be reached or will not start."""

    stage = "queue"
    retryable = True
    default_hint = "see: sitrep doctor"


class ModelError(SitrepError):
    """A model back end failed."""

    stage = "model"


class ModelMissing(ModelError):
    """The weights or the package of a model are not there."""

    default_hint = "see: sitrep models doctor"


class ModelTimeout(ModelError):
    """The model did not answer in time."""

    retryable = True


class ModelUnavailable(ModelError):
    """The model server refused the call or is down."""

    retryable = True


class ReplyError(SitrepError):
    """The model answered, but its reply cannot be read.

    Args:
        message: What is wrong with the reply.
        raw: The reply as it came; stored with the failed verdict.
        hint: How to mend it.
        job_id: The job that was being worked on.
    """

    stage = "reply"
    default_hint = "the candidate goes to a person; the raw reply is stored with the verdict"

    def __init__(
        self, message: str, *, raw: str = "", hint: str | None = None, job_id: str | None = None
    ) -> None:
        super().__init__(message, hint=hint, job_id=job_id)
        self.raw = raw


class JobError(SitrepError):
    """A job is not in a state that allows the call."""

    stage = "queue"
    default_hint = "see: sitrep queue stats"
