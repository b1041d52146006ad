"""A fourth system, ``tally``, as files under ``tree``; and what a copy of this tree makes of them without an edit."""
