"""The arena's page: which attack passes which verifier at what cost, for a browser and for Markdown."""

from raypol.report.arena.board import Board, board_of
from raypol.report.arena.markdown import arena_markdown
from raypol.report.arena.page import arena_html

__all__ = ["Board", "arena_html", "arena_markdown", "board_of"]
