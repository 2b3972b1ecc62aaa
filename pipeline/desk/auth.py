"""Who may look: one token for the installation, a signed cookie for each operator, CSRF tokens for posts.

The cookie carries the operator's name, the language of the page and the time of signing in, signed with
a key derived from the token: it survives a restart, and changing the token signs everybody out.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request, Response
from pydantic import SecretStr

from pipeline.errors import ConfigError
from pipeline.settings import Settings

SESSION_S = 12 * 3600
"""One shift: whoever takes over the desk signs in under their own name."""
API_OPERATOR = "api"
DEFAULT_OPERATOR = "operator"
LANGUAGES = ("en", "ko")
CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAX_FAILURES, _FAILURE_WINDOW_S = 20, 60.0


class SignInNeeded(Exception):
    """The request carries no valid session or token."""


class TooManyFailures(Exception):
    """Wrong tokens come so fast that nobody is let in for a minute."""


class Forged(Exception):
    """A post came without the CSRF token of its session, or from another site."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Who asks. ``csrf`` is empty for a request that carries the token itself."""

    name: str
    language: str
    csrf: str


def token_file(settings: Settings) -> Path:
    """Where a token that Sitrep made itself is kept."""
    return settings.data_dir / "token"


def page_token(settings: Settings) -> str:
    """The token of the incident page: the setting, else one made once and kept for this user only.

    Raises:
        ConfigError: The token file is empty or cannot be read or written.
    """
    return _token(settings.token, "token", token_file(settings))


def detector_token(settings: Settings) -> str:
    """The token detectors send their events with, kept in ``detector-token`` unless it is set.

    Raises:
        ConfigError: As for :func:`page_token`.
    """
    return _token(settings.detector_token, "detector_token", settings.data_dir / "detector-token")


def _token(given: SecretStr | None, name: str, path: Path) -> str:
    if given is not None:
        if token := given.get_secret_value().strip():
            return token
        raise ConfigError(f"setting '{name}' is empty", hint="unset it, and Sitrep makes one")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make_token(path)
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"token file {path} cannot be used: {error}", hint="delete it or mend its permissions"
        ) from error
    if not token:
        raise ConfigError(f"token file {path} is empty", hint="delete it, and Sitrep makes a new one")
    return token


def _make_token(path: Path) -> None:
    # Written aside and linked, so that two processes starting at once agree on one whole token.
    if path.exists():
        return
    draft = path.with_name(f".token-{os.getpid()}-{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(24) + "\n")
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()


def clean_name(name: str | None) -> str:
    """An operator's name as it is stored: one line, at most 60 characters."""
    return " ".join(_CONTROL.sub(" ", name or "").split())[:60] or DEFAULT_OPERATOR


class Gate:
    """Checks tokens, signs and reads cookies."""

    def __init__(self, token: str, port: int, machine_token: str = "") -> None:
        self._token, self._machine_token = token.encode(), machine_token.encode()
        self._key = hashlib.sha256(b"sitrep incident page session\0" + self._token).digest()
        # Cookies do not know ports: two installations on one host must not sign each other out.
        self.cookie = f"sitrep_session_{port}"
        self._failures: deque[float] = deque(maxlen=_MAX_FAILURES)

    def token_is_right(self, given: str) -> bool:
        """Compare in constant time.

        Raises:
            TooManyFailures: Twenty wrong tokens within the last minute.
        """
        return self._is(self._token, given)

    def is_machine(self, request: Request, *, count: bool = True) -> bool:
        """Whether a request carries the token of detectors.

        Args:
            request: The request.
            count: Whether a wrong token counts against the limit; not when it is looked at again.

        Raises:
            TooManyFailures: As for :meth:`token_is_right`.
        """
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not self._machine_token:
            return False
        return self._is(self._machine_token, given, count=count)

    def _is(self, token: bytes, given: str, *, count: bool = True) -> bool:
        now = time.monotonic()
        full = len(self._failures) == self._failures.maxlen
        if full and now - self._failures[0] < _FAILURE_WINDOW_S:
            raise TooManyFailures
        right = hmac.compare_digest(
            hashlib.sha256(given.strip().encode()).digest(), hashlib.sha256(token).digest()
        )
        if not right and count:
            self._failures.append(now)
        return right

    def sign_in(self, response: Response, request: Request, name: str, language: str) -> None:
        """Set the session cookie."""
        body = {"o": clean_name(name), "l": language if language in LANGUAGES else LANGUAGES[0]}
        packed = base64.urlsafe_b64encode(json.dumps(body | {"t": int(time.time())}).encode())
        payload = packed.decode().rstrip("=")
        response.set_cookie(
            self.cookie,
            f"{payload}.{self._mac(payload)}",
            max_age=SESSION_S,
            path="/",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )

    def sign_out(self, response: Response) -> None:
        """Remove the session cookie."""
        response.delete_cookie(self.cookie, path="/")

    def operator(self, request: Request) -> Operator | None:
        """Who asks, or ``None``. Raises TooManyFailures."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            named = clean_name(request.headers.get("x-operator") or API_OPERATOR)
            return Operator(named, LANGUAGES[0], "") if self.token_is_right(given) else None
        return self._from_cookie(request.cookies.get(self.cookie, ""))

    def check_post(self, request: Request, operator: Operator, field: str = "") -> None:
        """Refuse a post that another site could have made the browser send.

        Raises:
            Forged: The CSRF token is missing or wrong.
        """
        if not operator.csrf:
            return
        site = request.headers.get("sec-fetch-site", "same-origin")
        given = request.headers.get(CSRF_HEADER) or field
        if site not in ("same-origin", "none") or not hmac.compare_digest(
            given.encode(), operator.csrf.encode()
        ):
            raise Forged

    def _from_cookie(self, value: str) -> Operator | None:
        payload, _, mac = value.partition(".")
        if not hmac.compare_digest(mac.encode(), self._mac(payload).encode()):
            return None
        try:
            body = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        except ValueError:
            return None
        if not 0 <= time.time() - body["t"] <= SESSION_S:
            return None
        return Operator(body["o"], body["l"], self._mac("csrf:" + value))

    def _mac(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
