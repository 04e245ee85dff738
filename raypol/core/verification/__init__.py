"""The verifier: survey, replay, policies."""
