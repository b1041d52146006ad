"""People drawn from known factors: any foreground in any pose before any background."""
