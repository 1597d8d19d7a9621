"""Who may use the page: known host names, requests from the page itself, holders of the token."""

import dataclasses
import hashlib
import hmac
import ipaddress
import socket
import urllib.parse
from collections.abc import Iterable

from starlette.requests import HTTPConnection

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclasses.dataclass(frozen=True)
class Access:
    """The rules, as a value.

    Attributes:
      names: host names by which browsers may call the page, in lower case.
      any_address: whether any IP address is such a name too.
      token: what a visitor must know; empty if everybody may use the page.
    """

    names: frozenset[str]
    any_address: bool = False
    token: str = ""

    @property
    def cookie(self) -> str:
        """Return the name of the cookie for the token; pages on other ports have their own."""
        return f"page_{hashlib.sha256(self.token.encode()).hexdigest()[:12]}"

    def is_token(self, text: str) -> bool:
        """Return whether `text` is the token, in constant time."""
        return hmac.compare_digest(text.encode("utf-8", "replace"), self.token.encode())

    def check(self, request: HTTPConnection) -> tuple[int, str]:
        """Return 200, or the status and the reason why a request is refused.

        A foreign host name is one that its owner has pointed at this machine, to read the page from
        a website (DNS rebinding). A foreign origin is a website that sends requests of its own.
        """
        hosts, origins = (request.headers.getlist(name) for name in ("host", "origin"))
        if len(hosts) != 1 or not self._is_known(hosts[0]):
            return 403, "the page is not known by this host name; --allow_hosts=NAME adds one"
        if any(_host_of(origin) != hosts[0].lower() for origin in origins):
            return 403, "the request comes from another site"
        if self.token and not self.is_token(request.cookies.get(self.cookie, "")):
            return 401, "open the link with the token that the page printed when it started"
        return 200, ""

    def _is_known(self, host: str) -> bool:
        try:
            parts = urllib.parse.urlsplit(f"//{host}")
            name = parts.hostname or ""
            known = name in self.names or (self.any_address and _is_address(name))
            return known and parts.netloc == host and parts.port != 0 and "@" not in host
        except ValueError:
            return False


def make_access(host: str, *, allow_hosts: Iterable[str] = (), token: str = "") -> Access:
    """Return the rules of a page that listens at `host`.

    An IP address as host name cannot be rebound, so that any is allowed unless `host` is this
    machine's own.
    """
    names = {host.lower(), *_LOOPBACK, *(name.lower() for name in allow_hosts)}
    if is_loopback(host):
        return Access(frozenset(names), token=token)
    return Access(frozenset(names | {socket.gethostname().lower()}), any_address=True, token=token)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can connect to `host`."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _host_of(origin: str) -> str | None:
    """Return host and port of an `Origin` header; None if it is no website."""
    scheme, _, host = origin.lower().partition("://")
    return host if scheme in ("http", "https") else None
