"""Passwords in database URLs, which are never shown, however they are spelled."""

from __future__ import annotations

import re
import urllib.parse

HIDDEN = "***"

_HARMLESS = frozenset(
    "host port user username dbname database charset sslmode timeout connect_timeout "
    "application_name driver encrypt mode uri".split()
)
"""Parameters of a URL whose values are shown; any other might be a secret."""

_PLAIN = re.compile(r"[\w.\-~/\\ +]*")
_ONE_HOST = r"(?:[\w.\-]*|\[[0-9A-Fa-f:.%]*\])(?::\d*)?"
_HOST = re.compile(rf"{_ONE_HOST}(?:,{_ONE_HOST})*")
_DATABASE = re.compile(r"[\w.\-/]*")


def redacted(url: str) -> str:
    """A storage URL without the parts that might be secret.

    The scheme, the user's name, the host, the port, the database and parameters that
    are known to be harmless are shown. A URL that can be read in two ways is hidden as
    a whole.

    Example: `redacted("postgresql://me:pw@host/db?password=x")` is
    `"postgresql://me:***@host/db?password=***"`.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url if _PLAIN.fullmatch(url) else HIDDEN
    if not re.fullmatch(r"[\w+.\-]*", scheme):
        return HIDDEN
    if scheme.startswith("sqlite") and rest.startswith("/"):
        path, mark, query = rest.partition("?")
        return f"{scheme}://{path}{mark}{_query(query)}"
    question, at = rest.find("?"), rest.rfind("@")
    if at > question >= 0:
        # A `?` in a password, or an `@` in a parameter: both readings are possible.
        return f"{scheme}://{HIDDEN}"
    place, mark, query = rest[at + 1 :].partition("?")
    login = rest[: max(at, 0)]
    user, colon, _ = login.partition(":")
    host, slash, database = place.partition("/")
    if not _HOST.fullmatch(host) or "/" in user:
        return f"{scheme}://{HIDDEN}"
    shown = f"{scheme}://"
    if at >= 0:
        shown += f"{user}{colon}{HIDDEN if colon else ''}@"
    database = database if _DATABASE.fullmatch(database) else HIDDEN
    return f"{shown}{host}{slash}{database}{mark}{_query(query)}"


def scrubbed(text: str, url: str) -> str:
    """A text, such as a driver's message, without the secrets of a URL.

    Every part of the URL that `redacted` hides is hidden in the text too, both as it is
    written and with its percent-escapes decoded.
    """
    shown = redacted(url)
    if shown == url:
        return text
    text = text.replace(url, shown)
    parts: set[str] = set()
    for form in (url, urllib.parse.unquote(url), urllib.parse.unquote_plus(url)):
        text = text.replace(form, shown)
        for part in (*re.split(r"[:/@?&=;#,'\"\s{}]+", form), *_passwords(form)):
            parts.update((part, urllib.parse.quote(part, safe="")))
    known = set(re.split(r"[:/@?&=;#,\s]+", shown)) | {"", HIDDEN}
    for part in sorted(parts - known, key=len, reverse=True):
        escaped = re.escape(part)
        if len(part) < 4:  # only as a word of its own, not inside another
            escaped = rf"(?<!\w){escaped}(?!\w)"
        text = re.sub(escaped, HIDDEN, text)
    return text


def _passwords(url: str) -> list[str]:
    """All parts of the URL that could be a password, even one with separators in it."""
    rest = url.partition("://")[2] or url
    found = []
    for end in (match.start() for match in re.finditer("@", rest)):
        found.append(rest[:end].partition(":")[2])
    for match in re.finditer("=", rest):
        found.append(rest[match.end() :].partition("&")[0])
    return found


def _query(query: str) -> str:
    parts = []
    for part in re.split(r"[&;]", query) if query else []:
        key, equals, value = part.partition("=")
        name = urllib.parse.unquote_plus(key)
        if not re.fullmatch(r"[\w.\-]*", name):
            parts.append(HIDDEN)
        elif not equals:
            parts.append(HIDDEN if key else "")
        elif name.casefold() in _HARMLESS and _PLAIN.fullmatch(value):
            parts.append(part)
        else:
            parts.append(f"{name}={HIDDEN}")
    return "&".join(parts)
