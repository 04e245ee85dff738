"""Text that anyone may have written is shown as it is, on a terminal, in Markdown and in addresses."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from raypol.store.escaping import (
    harmless_markdown,
    markdown_block,
    markdown_code,
    markdown_text,
    visible,
    visible_lines,
    without_secrets,
)

MARKS = st.text(alphabet="[]()!<>`\\*_#|~&$/:@. \nabhtp1-+=;", max_size=30)
"""Texts of what Markdown reads."""
HOSTILE = (
    "![x](http://127.0.0.1:9/beacon.png)", "[click](http://evil.example/) <b>x</b>", "<script>alert(1)</script>", "a | b",
    "`code` *bold* _it_ __b__ ~~s~~ \\", "# head", "1. one", "- one", "> quote", "&lt;b&gt; &#60;", "[x]: http://evil", "---",
    "![x][y]\n\n[y]: http://evil/x.png", "<http://evil>", "http://evil/x www.evil.example", "```\ncode\n```", "$\\frac{1}{2}$",
    "\\[x](http://evil)", "\\\\[x](http://evil)", "`\\`[x](http://evil)", "`\\\\`\\\\[x](http://evil)", "<img src=x onerror=y>",
)  # fmt: skip


def tokens(markdown: str) -> list[str]:
    """Kinds of what CommonMark makes of a text, links and images included."""
    found = MarkdownIt("commonmark").enable("table").enable("strikethrough").parse(markdown)
    return [one.type for token in found for one in (token, *(token.children or ()))]


def shown(markdown: str) -> str:
    """The text that CommonMark shows."""
    found = MarkdownIt("commonmark").parse(markdown)
    return "".join(
        " " if one.type in ("softbreak", "hardbreak") else one.content
        for token in found
        for one in token.children or ()
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_a_text_as_it_is(text: str) -> None:
    assert set(tokens(markdown_text(text))) <= {"paragraph_open", "inline", "text", "text_special", "paragraph_close"}
    assert shown(markdown_text(text)) == " ".join(text.split())
    assert "://" not in markdown_text(text), "GitHub makes a link of an address"
    assert not re.search(r"(?<!\\)\$", markdown_text(text)), "and a formula of what stands between dollars"


@given(MARKS)
def test_markdown_of_any_text_is_text(text: str) -> None:
    assert set(tokens(markdown_text(text))) <= {"paragraph_open", "inline", "text", "text_special", "paragraph_close"}
    assert shown(markdown_text(text)) == visible(" ".join(text.split()))


@given(MARKS | st.sampled_from(HOSTILE))
def test_harmless_markdown_loads_and_links_nothing(text: str) -> None:
    harmless = harmless_markdown(text)
    assert not {"image", "link_open", "html_inline", "html_block", "fence", "code_inline"} & set(tokens(harmless)), (
        harmless
    )
    assert harmless_markdown(harmless) == harmless


def test_our_own_markdown_stays_as_it_is() -> None:
    own = f"**{markdown_text('Does [it] pass, a_b < 3?')}**\n\n| a | b |\n|---|---|\n| {markdown_text('<x> | y://z')} | 1 |"
    assert harmless_markdown(own) == own


@given(MARKS)
def test_code_is_code_whatever_it_holds(text: str) -> None:
    if one_line := " ".join(text.split()):
        found = [t for t in MarkdownIt("commonmark").parse(f"x{markdown_code(one_line)}y") if t.type == "inline"]
        (kinds,) = ([(one.type, one.content) for one in token.children or ()] for token in found)
        assert kinds[1][0] == "code_inline"
        assert kinds[1][1].strip() == one_line.strip()
    (block,) = MarkdownIt("commonmark").parse(markdown_block(text))
    assert (block.type, block.content) == ("fence", f"{text}\n")


@pytest.mark.parametrize("sent", ["\x1b]52;c;AAAA\x07", "\x9b31m", "\x85", "\u202e\u2066", "\u2028", "\x7f", "\r\b\0"])
def test_a_terminal_gets_no_control_character(sent: str) -> None:
    assert visible(f"a{sent}b").isprintable()
    assert visible(f"a{sent}b") != "ab"
    assert visible_lines(f"a\n{sent}").split("\n") == ["a", visible(sent)]


SENTINEL = "SEN7INEL"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"s3://KEY:{SENTINEL}@bucket/a", "s3://***@bucket/a"),
        (f"at s3://KEY:{SENTINEL}/x@bucket/a?region=eu, s3://b/c", "at s3://***@bucket/a?region=eu, s3://b/c"),
        (f"https://user:p@{SENTINEL}@host:5000/x@y", "https://***@host:5000/x@y"),
        (f"http://{SENTINEL}@host/", "http://***@host/"),
        (f"s3://b/a?access_key=A&secret_key={SENTINEL}&region=eu", "s3://b/a?access_key=***&secret_key=***&region=eu"),
        (f"https://h/x?X-Amz-Signature={SENTINEL}&sig={SENTINEL}", "https://h/x?X-Amz-Signature=***&sig=***"),
        (f"('s3://b/?api_token={SENTINEL}')", "('s3://b/?api_token=***')"),
        (f"postgresql+psycopg://u:{SENTINEL}@h/db", "postgresql+psycopg://***@h/db"),
        (f'{{"a": "s3://k:{SENTINEL}@b", "c": "x@y"}}', '{"a": "s3://***@b", "c": "x@y"}'),
        ("s3://bucket/a@b", "s3://bucket/a@b"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
        ("file:///a@b?c=d", "file:///a@b?c=d"),
        ("a@b key=c ? key=d", "a@b key=c ? key=d"),
        (f"Retrying: /?token={SENTINEL}&a=b", "Retrying: /?token=***&a=b"),
    ],
)
def test_an_address_shows_no_secret(text: str, told: str) -> None:
    assert without_secrets(text) == told
    assert without_secrets(told) == told


@pytest.mark.parametrize(
    "text", ["a" * 10**6 + "://", "a://b:" * 10**5, "a://?" + "key" * 10**5, "&a" * 10**6, "[" * 10**6]
)
def test_long_texts_take_no_longer_than_their_length(text: str) -> None:
    begin = time.monotonic()
    for escaped in (without_secrets, markdown_text, harmless_markdown, visible):
        assert escaped(text)
    assert time.monotonic() - begin < 60, "the square of a million steps would take hours"


def test_the_link_to_a_shared_view_is_whole() -> None:
    link = "http://127.0.0.1:5000/#/experiments/1/runs?viewStateShareKey=raypol&workflowType=machine_learning"
    assert without_secrets(link) == link
    assert without_secrets(f"{link}&token=abc") == f"{link}&token=***"
