"""Who is on each front, in sentences, and how far behind it published attacks are, in a table."""

from dataclasses import replace

from raypol.report.conclusions import conclude
from raypol.report.front_tables import front_sentences, fronts_tables
from tests.figures.figure_rows import says
from tests.figures.test_frontier import DEAR, FREE, HONEST, ROWS, TRUE, VERDICTS

PUBLISHED = [replace(row, attack={"II": "ii", "steered": "steered"}.get(row.arm, row.attack)) for row in ROWS]


def test_a_sentence_per_front_names_policies_arms_and_ends() -> None:
    assert front_sentences(ROWS, [*VERDICTS, *(says("also strict", trial) for trial in ROWS[1:])]) == [
        "On the front under strict and also strict: null, no momentum; steered (from null, no momentum (T' = 60) at 0.01 of the "
        "proof's time and 0.5 of its error to steered (T' = 60) at 1 of the proof's time and 0.1 of its error).",
        "On the front under tight: II (from II (T' = 60) at 3 of the proof's time and 0.4 of its error).",
        "No spoof of W_T is accepted by none.",
    ]
    assert front_sentences(ROWS, []) == []


def test_the_table_says_how_far_behind_published_attacks_are() -> None:
    (table,) = fronts_tables(PUBLISHED, VERDICTS)
    lines = {str(line[0]): line[1:] for line in table.lines}
    assert lines["strict"][:3] == ["II", "Zhang et al. 2022, arXiv:2108.09454", "T' = 60"]
    assert lines["strict"][3:] == ["3", "0.4", "4x", "3x"], "steered errs .1 at cost 1"
    assert lines["tight"][-2:] == ["on the front", ""]
    assert lines["none"][2] == "none of 1 accepted"
    assert fronts_tables([HONEST, FREE, TRUE], VERDICTS) == []


def test_conclusions_name_the_fronts() -> None:
    text = " ".join(conclude(PUBLISHED, VERDICTS).summary)
    assert "On the front under tight: II" in text
    assert "spoofs published accepts" not in text, "the counts are told where no fronts are"
    assert DEAR.arm in text
