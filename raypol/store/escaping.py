"""Text of rows, manifests, folders and exceptions, made safe for where it is shown: a function per medium.

Anyone may have written a results folder. Its texts are shown as they are, and load, link and steer nothing. HTML needs nothing
here: templates and `markupsafe.escape` do it.
"""

import re
from typing import Final

_USER: Final = re.compile(
    r'([A-Za-z][A-Za-z0-9+.-]{0,30}://)(?:[^\s/?#"]{0,4000}|[^\s/@:"]{0,400}:(?!\d+(?:/|$))[^\s"]{0,4000})@'
)
"""Name and password of an address; a slash that somebody forgot to encode in the password counts to it. All lengths are bounded,
or a long text would take the square of its length."""
_SECRET: Final = re.compile(
    r'([?&#][^=&#\s"]{0,60}(?:key|secret|token|pass|pwd|sig|cred|auth|sas)[^=&#\s"]{0,60}=)(?<!viewStateShareKey=)[^&#\s"\']+',
    re.IGNORECASE,
)
"""But for the name of a view that MLflow shares, which every printed link has."""
_MARKS: Final = re.compile(r"[\\`*<\[\]|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|&(?=#?\w+;)|(?<=:)/(?=/)|(?<=\bwww)\.|@")
"""Characters by which Markdown, as CommonMark and GitHub have it, makes anything but text; _ counts at the ends of words."""
_LINE_MARKS: Final = re.compile(r"^(\d{0,9})(>|[#+.)-](?=\s)|[#=-](?=[#=-]))")
"""Begins of headings, quotes and lists."""
_LOADING: Final = re.compile(r"(\\[!-/:-@\[-`{-~])|([\[\]<`~]|&(?=#?\w+;)|(?<=:)/(?=/))")
"""A character that is escaped, or one by which Markdown loads, links, holds HTML, or begins code that what follows would end."""
HIDDEN: Final = "***"
"""Stands for a secret."""


def visible(text: str) -> str:
    """Text for a terminal: control characters, line breaks and changes of direction too, are shown and not sent."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def visible_lines(text: str) -> str:
    """Text of several lines, each as `visible` shows it."""
    return "\n".join(map(visible, text.split("\n")))


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    escaped = _MARKS.sub(r"\\\g<0>", visible(" ".join(text.split())))
    return _LINE_MARKS.sub(r"\1\\\2", escaped)


def markdown_code(text: str) -> str:
    """Text of one line as code in Markdown, whatever backticks it holds."""
    text = visible(text)
    fence = "`" * (_longest_run(text) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}" if text else ""


def markdown_block(text: str) -> str:
    """Lines of text as a block of code in Markdown, whatever backticks it holds."""
    text = visible_lines(text)
    fence = "`" * max(_longest_run(text) + 1, 3)
    return f"{fence}\n{text}\n{fence}"


def harmless_markdown(text: str) -> str:
    """Markdown without links, images, HTML and code, which become text; emphasis and tables stay. Twice is as once."""
    return _LOADING.sub(lambda found: found[1] or f"\\{found[2]}", visible_lines(text))


def without_secrets(text: str) -> str:
    """Text in which no address shows a user's name, password, key or token."""
    if "://" in text:
        text = _USER.sub(rf"\g<1>{HIDDEN}@", text)
    return (
        _SECRET.sub(rf"\g<1>{HIDDEN}", text) if "=" in text else text
    )  # also in a part of an address, as logs have it


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
