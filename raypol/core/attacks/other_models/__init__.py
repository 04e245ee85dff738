"""Attacks that claim another model than W_T: what a proof of learning does not promise, and what it costs to do without W_T."""
