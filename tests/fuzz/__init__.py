"""Coverage-guided fuzzing of every reader of files that an adversary may have written: `make fuzz`.

What it finds is kept in tests/cases/fuzz/<reader>-<kind>-<digest>, and replayed by `test_findings`.
"""
