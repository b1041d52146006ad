"""Schedulers of a campaign as pure functions of its history: which trials go on, which end, and who copies whom."""
