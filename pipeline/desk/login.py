"""Signing in and out."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from pipeline.desk import writes
from pipeline.desk.auth import DEFAULT_OPERATOR, LANGUAGES, TooManyFailures, clean_name
from pipeline.desk.context import Desk, TheDesk, TheOperator
from pipeline.desk.pages import render
from pipeline.desk.text import translator

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)


@router.get("/login")
def show_login(request: Request, desk: TheDesk) -> Response:
    """The sign-in page; for somebody signed in, the place to change name and language."""
    return login_page(request, desk)


def login_page(request: Request, desk: Desk, message: str = "", status: int = 200) -> Response:
    """The sign-in page, with what went wrong."""
    try:
        member = desk.gate.operator(request)
    except TooManyFailures:
        member = None
    language = member.language if member else LANGUAGES[0]
    words = translator(language)
    values = {
        "language": language,
        "t": words,
        "member": member,
        "message": words(message) if message else "",
    }
    return render(request, desk, "login.html", None, status=status, **values)


class SignIn(BaseModel):
    """What the sign-in page sends."""

    model_config = ConfigDict(extra="forbid")

    token: str = Field("", max_length=500)
    operator: str = Field("", max_length=200)
    language: str = Field(LANGUAGES[0], max_length=5)
    csrf: str = Field("", max_length=100)


@router.post("/login")
def sign_in(request: Request, desk: TheDesk, form: Annotated[SignIn, Form()]) -> Response:
    """Check the token, or for somebody signed in the CSRF token, and set the cookie."""
    present = desk.gate.operator(request)
    if present is not None and not form.token:
        desk.gate.check_post(request, present, form.csrf)
    elif not desk.gate.token_is_right(form.token):
        return login_page(request, desk, "token_wrong", 401)
    return _welcome(request, desk, form.operator, form.language, "/")


@router.post("/logout")
def sign_out(
    request: Request, desk: TheDesk, operator: TheOperator, csrf: Annotated[str, Form(max_length=100)] = ""
) -> Response:
    """Forget the cookie."""
    desk.gate.check_post(request, operator, csrf)
    response = RedirectResponse("/login", 303)
    desk.gate.sign_out(response)
    return response


def by_link(request: Request, desk: Desk, token: str) -> Response:
    """Sign in by ``?token=`` once; the token leaves the address bar at once."""
    if not desk.gate.token_is_right(token):
        return login_page(request, desk, "token_wrong", 401)
    rest = [(k, v) for k, v in request.query_params.multi_items() if k not in ("token", "operator", "lang")]
    target = request.url.path + (f"?{urlencode(rest)}" if rest else "")
    name = request.query_params.get("operator") or DEFAULT_OPERATOR
    return _welcome(request, desk, name, request.query_params.get("lang", LANGUAGES[0]), target)


def _welcome(request: Request, desk: Desk, name: str, language: str, target: str) -> Response:
    # A path such as //host would lead away from this page.
    response = RedirectResponse("/" + target.lstrip("/\\"), 303)
    desk.gate.sign_in(response, request, name, language)
    writes.signed_in(desk.engine, clean_name(name))
    return response
