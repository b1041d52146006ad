"""unbraid: trains disentangled image generators (InfoGAN, DPIG, CDD) on a Ray cluster, from shards on S3.

``unbraid.open``, ``load``, ``train`` and ``campaign`` are the Python interface, see :mod:`unbraid.api`. They are imported when
they are used, so that importing this package takes milliseconds.

The subpackages are the folders ``models``, ``datasets``, ``trainers`` and ``cluster`` of the source tree. Symbolic links beside
this file give them the names under which they are installed and imported, so that an installation puts nothing called
``datasets`` or ``models`` at the top of an environment.

Attributes:
    __version__: of the installed distribution; ``0+unknown`` where the source tree runs without being installed.
"""

TYPE_CHECKING = False  # the constant of ``typing``, which takes longer to import than this package

if TYPE_CHECKING:
    from unbraid.api import campaign, load, open, train

    __version__: str
else:

    def __getattr__(name: str) -> object:
        """Look up the version, and the interface, when they are read: ``importlib.metadata``, too, takes longer to import."""
        if name in ("campaign", "load", "open", "train"):
            import unbraid.api

            return getattr(unbraid.api, name)
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("unbraid")
        except PackageNotFoundError:
            return "0+unknown"


__all__ = ["__version__", "campaign", "load", "open", "train"]
