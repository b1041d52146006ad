"""unbraid: trains disentangled image generators (InfoGAN, DPIG, CDD) on a Ray cluster.

The subpackages are the folders ``models``, ``datasets``, ``trainers`` and ``cluster`` of the source tree; symbolic links beside
this file give them their installed names, so that nothing called ``datasets`` or ``models`` lands at the top of an environment.
"""
