"""Who may reach the server of a run, and what its answers let a browser do with them.

On loopback a request must name loopback as its host, and where it has an origin that very host: else any web page that
is open in a browser on this machine could press the buttons (DNS rebinding, cross-site requests) or look at what the
agent sees. Beyond loopback it must bear a token.
"""

import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.stream.connection import is_loopback

TOKEN_VARIABLE = "ENGRAM_CONTROL_TOKEN"  # nosec B105
"""Names the token that requests from beyond loopback must bear."""

ANSWER_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer: nothing from elsewhere is loaded, no other page may embed or read it, nothing is kept."""


def names_loopback(host: str) -> bool:
    """Says whether a Host header, which may have a port, names this machine's loopback."""
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False


class Gate:
    """Lets in whom it should: see the module.

    Args:
        app: What is behind it.
        token: That requests must bear; None on loopback, where they must name loopback instead.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, or passes a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(ANSWER_HEADERS)
            await send(message)

        wrong = self._refusal(str(scope["method"]), Headers(scope=scope))
        behind = JSONResponse({"error": wrong}, status_code=403) if wrong else self._app
        await behind(scope, receive, answer)

    def _refusal(self, method: str, headers: Headers) -> str:
        origin = headers.get("origin")
        if self._token is not None:
            given = headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), self._token.encode()):
                return f"a bearer token is needed: the run's {TOKEN_VARIABLE}"
            return "web pages may not steer a run" if origin is not None else ""
        host = headers.get("host", "")
        if not names_loopback(host):
            return "the Host header must name loopback"
        if origin is not None and origin != f"http://{host}":
            return "the Origin header must name the Host: other pages may not steer a run"
        # A picture or script that another page asks for has no origin; browsers say by this where it comes from.
        elsewhere = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if elsewhere and not (method == "GET" and headers.get("sec-fetch-mode") == "navigate"):
            return "other pages may not look at a run"
        return ""
