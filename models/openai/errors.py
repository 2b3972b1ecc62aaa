"""Maps what an OpenAI client raises to Sitrep's errors, in one place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from models.openai.circuit import Circuit
from pipeline.errors import (
    ModelError,
    ModelMissing,
    ModelTimeout,
    ModelUnavailable,
    ReplyError,
    SitrepError,
)


@contextmanager
def mapped(server: str, circuit: Circuit) -> Iterator[None]:
    """Run one request to ``server``.

    Raises:
        ModelTimeout: No answer in time.
        ModelUnavailable: Connection refused or lost, 429 or 5xx, or the circuit is open.
        ModelMissing: The server does not know the model.
        ModelError: The server refuses the request for good (key, format).
        ReplyError: The answer is not what the protocol says.
    """
    import openai

    circuit.enter(server)
    try:
        yield
    except SitrepError:
        raise
    except openai.APITimeoutError as error:
        circuit.failed()
        raise ModelTimeout(
            f"model server {server} did not answer in time", hint="raise SITREP_MODEL_TIMEOUT_S"
        ) from error
    except openai.RateLimitError as error:
        raise ModelUnavailable(f"model server {server} is busy (429)", hint="it is tried again") from error
    except openai.APIStatusError as error:
        _raise_status(server, circuit, error.status_code, error)
    except openai.APIConnectionError as error:
        circuit.failed()
        raise ModelUnavailable(
            f"model server {server} cannot be reached", hint="start it, or check address and port"
        ) from error
    except openai.LengthFinishReasonError as error:
        raw = str(error.completion.choices[0].message.content or "")
        raise ReplyError("the reply is cut off", raw=raw) from error
    except (
        openai.OpenAIError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
    ) as error:
        # The client trips over malformed answers in many ways; none of them is a reason to lose a candidate.
        text = " ".join(str(error).split())[:200]
        raise ReplyError(f"model server {server} gave an unreadable answer: {text}", raw=text) from error
    else:
        circuit.succeeded()


def _raise_status(server: str, circuit: Circuit, status: int, error: Exception) -> None:
    detail = " ".join(str(error).split())[:200]
    if status >= 500 or status in {408, 409, 425}:
        circuit.failed()
        raise ModelUnavailable(
            f"model server {server} answered {status}", hint="it is tried again"
        ) from error
    if status in {401, 403}:
        raise ModelError(
            f"model server {server} refused the key ({status})", hint="set SITREP_MODEL_API_KEY"
        ) from error
    if status == 404:
        raise ModelMissing(
            f"model server {server} does not know the model or address: {detail}", hint="check URL#MODEL"
        ) from error
    raise ModelError(f"model server {server} answered {status}: {detail}", hint="see its log") from error
