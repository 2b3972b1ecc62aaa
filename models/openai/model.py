"""``openai:URL#MODEL``: vLLM, SGLang, llama-server, Ollama, LM Studio or any server with that protocol."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult
from pydantic import PrivateAttr, SecretStr

from models.base import Inquiry, Score, SitrepChatModel
from models.openai.circuit import Circuit
from models.openai.errors import mapped
from models.openai.logprobs import log_odds
from pipeline.errors import ConfigError, ModelError
from pipeline.settings import Settings

_PARALLEL = 4
_TOP = 20
_REPORT_TOKENS = 700


class OpenAIChatModel(SitrepChatModel):
    """A model behind a server.

    Attributes:
        base_url: Ends in ``/v1``.
        model_name: As the server calls it.
        api_key: Sent to this server only.
        timeout_s: Longest wait for one answer.
    """

    base_url: str
    model_name: str
    api_key: SecretStr | None = None
    timeout_s: float = 60.0
    _client: Any = PrivateAttr(default=None)
    _circuit: Circuit = PrivateAttr(default_factory=Circuit)
    _schema_refused: bool = PrivateAttr(default=False)

    @property
    def _llm_type(self) -> str:
        return "sitrep-openai"

    @property
    def server(self) -> str:
        """Address without credentials, for messages."""
        parts = urlsplit(self.base_url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)

    def score(self, inquiries: Sequence[Inquiry]) -> list[Score]:
        """Asks for one token with its alternatives, four inquiries at a time."""
        if len(inquiries) == 1:
            return [self._score(inquiries[0])]
        with ThreadPoolExecutor(_PARALLEL) as pool:
            return list(pool.map(self._score, inquiries))

    def narrate(self, inquiry: Inquiry, score: Score) -> str:
        """A report in the JSON schema; in plain words where the server knows no schemas."""
        from pipeline.reason.parse import report_schema

        limit = int(inquiry.options.get("report_tokens") or _REPORT_TOKENS)
        options: dict[str, Any] = {"max_tokens": limit}
        if not self._schema_refused:
            schema = {"name": "report", "schema": report_schema(), "strict": True}
            with_schema = {**options, "response_format": {"type": "json_schema", "json_schema": schema}}
            try:
                return _text(self._ask(inquiry.narrative_messages, **with_schema))
            except ModelError as error:
                if "answered 400" not in error.message and "answered 422" not in error.message:
                    raise
                self._schema_refused = True
        return _text(self._ask(inquiry.narrative_messages, **options))

    def _score(self, inquiry: Inquiry) -> Score:
        started = time.perf_counter()
        reply = self._ask(inquiry.messages, max_tokens=1, logprobs=True, top_logprobs=_TOP)
        return Score(log_odds(reply.response_metadata), elapsed_ms=(time.perf_counter() - started) * 1e3)

    def _ask(self, messages: Sequence[BaseMessage], **options: Any) -> Any:
        client = self._chat()
        with mapped(self.server, self._circuit):
            return client.invoke(list(messages), **options)

    def _chat(self) -> Any:
        if self._client is None:
            # ChatOpenAI itself sends max_completion_tokens, which many compatible servers ignore.
            from langchain_openai.chat_models.base import BaseChatOpenAI

            # Without a key of its own the client would send OPENAI_API_KEY to whatever server is named.
            key = self.api_key or SecretStr("none")
            self._client = BaseChatOpenAI(
                base_url=self.base_url,
                model=self.model_name,
                api_key=key,
                timeout=self.timeout_s,
                max_retries=0,
                temperature=0.0,
                use_responses_api=False,
            )
        return self._client

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        """Plain chat, for notebooks."""
        client = self._chat()
        with mapped(self.server, self._circuit):
            result: ChatResult = client._generate(messages, stop=stop, **kwargs)
            return result


def _text(reply: Any) -> str:
    return str(reply.text) or str(reply.additional_kwargs.get("refusal") or "")


def create(name: str, settings: Settings) -> OpenAIChatModel:
    """The model at ``URL#MODEL``.

    Raises:
        ConfigError: The address is not one.
    """
    url, _, model = name.partition("#")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"'{url}' is not a server address", hint="write openai:http://HOST:PORT/v1#MODEL")
    if not model:
        raise ConfigError(f"no model named for {parts.hostname}", hint=f"write openai:{url}#MODEL")
    host = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname
    return OpenAIChatModel(
        model_id=f"openai:{parts.scheme}://{host}{parts.path}#{model}",
        base_url=url,
        model_name=model,
        api_key=settings.model_api_key,
        timeout_s=settings.model_timeout_s,
    )
