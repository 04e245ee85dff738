"""What figures share: colours of arms, markers, axes, pages."""
