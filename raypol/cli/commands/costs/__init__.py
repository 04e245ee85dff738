"""Commands about costs: estimated beforehand, or measured."""
