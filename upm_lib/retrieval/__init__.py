"""What trained networks are for: fused vectors, ranked lists, their quality, a file to hand on.

In: networks and frames. Out: one vector for each tracklet (section 3.5), the ranks of the true
matches (section 4.1), maps of what a network responds to (section 4.6), a model as one file. May
use the ground, ``data`` and ``learning``.
Files: features -> evaluation, activation, model_file, offsets.
"""
