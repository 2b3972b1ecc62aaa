"""What every route of the incident page needs: settings, database, frames, gate, live tail, words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.templating import Jinja2Templates
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from pipeline.desk.auth import Gate, Operator, SignInNeeded
from pipeline.desk.health import BrokerProbe
from pipeline.desk.sse import Tail
from pipeline.errors import StoreError
from pipeline.inbound import Intake
from pipeline.interfaces import FrameStore
from pipeline.settings import Settings
from pipeline.store.engine import read


@dataclass(frozen=True, slots=True)
class Desk:
    """The incident page's parts, made once by ``create_app``."""

    settings: Settings
    engine: Engine
    frames: FrameStore
    gate: Gate
    tail: Tail
    broker: BrokerProbe
    templates: Jinja2Templates
    intake: Intake

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for one answer; its failures come out as StoreError."""
        try:
            with read(self.engine) as connection:
                yield connection
        except SQLAlchemyError as error:
            # Such as a pool that has no connection left: not the database's own words, but its state.
            raise StoreError(f"the database does not answer: {type(error).__name__}") from error


def desk_of(request: Request) -> Desk:
    """The parts of the app that serves this request."""
    desk: Desk = request.app.state.desk
    return desk


class TokenInLink(Exception):
    """A page was asked for with ``?token=``: sign in, then go there without it."""


def signed_in(request: Request) -> Operator:
    """Who asks. Raises SignInNeeded, TokenInLink, TooManyFailures."""
    if "token" in request.query_params and request.method == "GET":
        raise TokenInLink
    operator = desk_of(request).gate.operator(request)
    if operator is None:
        raise SignInNeeded
    return operator


TheDesk = Annotated[Desk, Depends(desk_of)]
TheOperator = Annotated[Operator, Depends(signed_in)]
