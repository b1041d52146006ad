"""Whether a campaign's file goes on with the campaign that the storage holds."""

from __future__ import annotations

from unbraid.trainers.config.schema import differences, effects
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.search.campaign.file import Campaign


def continued(stored: Campaign, given: Campaign) -> Campaign:
    """The campaign that goes on when the storage holds one and a command gives another.

    It is the given one. Where the stored one has been changed since, and the given one is what it was started from, it is the
    given one with the space that the stored one has now.

    Raises:
        ConfigError: naming each key that would change the campaign's results, with both values.
    """
    may_change = effects(Campaign)
    if stored.former and not given.former and not differences(stored.at(0), given).keys() - may_change.keys():
        return given.model_copy(update={"space": stored.space, "fixed": stored.fixed, "former": stored.former})
    changed = {key: values for key, values in differences(stored, given).items() if key not in may_change}
    if changed:
        listing = "\n".join(f"  {key}: {before!r} there, {now!r} in the file" for key, (before, now) in changed.items())
        raise ConfigError(
            f"campaign {given.name!r} in {given.storage} was started from another file:\n{listing}\n"
            f"give this one another name, or take these changes back (only {', '.join(may_change)} may change); `unbraid tune "
            "change` widens, narrows or freezes what is searched"
        )
    return given
